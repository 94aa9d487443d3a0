"""A class of students on hosts of an own testbed, handled as a teacher does: by the stack file and `make`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import yaml

from config import Host, Lab
from lab.engine import Engine
from providers.transport import connect
from testbed import processes
from tests import places
from tests.conftest import ROOT
from tests.e2e.conftest import IMAGE
from tests.e2e.guest import GuestLogin
from tests.e2e.stack import UP_DEADLINE, Outcome

FOLDER = ROOT / places.folder("students")
NETWORK = 7
_DONE = re.compile(r"^ ?[-+~]+ +(\S+) (\S+) (created|updated|replaced|deleted)\b", re.MULTILINE)


@dataclass
class School:
    """A stack called `stack`, whose file is `file`; each command writes it first."""

    stack: str
    file: Path
    key: str
    hosts: list[dict[str, Any]]
    templates: list[dict[str, Any]]
    roster: dict[str, Any]
    reasons: list[dict[str, str]] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    def because(self, allow: str, of: str) -> None:
        """Give a reason in writing for a change that the plan gate holds up."""
        self.reasons.append({"allow": allow, "of": of, "reason": "the test has good reasons for it"})

    def write(self) -> None:
        """Write the stack file."""
        config = {
            "kvm-lab:images": [IMAGE],
            "kvm-lab:hosts": self.hosts,
            "kvm-lab:templates": self.templates,
            "kvm-lab:roster": self.roster,
            "kvm-lab:reasons": self.reasons,
        }
        self.file.write_text(yaml.safe_dump({"config": config}, sort_keys=False))

    def make(self, command: str, *more: str) -> Outcome:
        """Run what `make COMMAND` runs, with more options."""
        self.write()
        options = [
            *(
                "--stack",
                self.stack,
                "--stack-file",
                str(self.file),
                "--testbed",
                str(FOLDER.relative_to(ROOT)),
            ),
            *("--bridge", places.bridge("labstud"), "--range", str(places.subnet(NETWORK))),
        ]
        return self._run([sys.executable, "-m", "lab", command, *options, *more])

    def done(self, command: str, *more: str) -> Outcome:
        """Run it, and insist that it ends well; the roster is then as the command left it."""
        outcome = self.make(command, *more)
        assert outcome.status == 0, outcome.text
        self.roster = yaml.safe_load(self.file.read_text())["config"]["kvm-lab:roster"]
        return outcome

    def pulumi(self, *arguments: str) -> Outcome:
        """Run `pulumi` itself, on whatever hosts are there."""
        self.write()
        options = [
            "--stack",
            self.stack,
            "--config-file",
            str(self.settings()),
            "--non-interactive",
            "--color",
            "never",
        ]
        return self._run([str(ROOT / ".lab/bin/pulumi"), *arguments, *options])

    def settings(self) -> Path:
        """Return the stack's settings as `pulumi` takes them, the stack being there."""
        self.write()
        return self.engine.prepare(self.stack, self.file)

    def _run(self, argv: list[str]) -> Outcome:
        done = subprocess.run(
            argv,
            cwd=ROOT,
            env=self.engine.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=UP_DEADLINE,
        )
        self.log.append(f"$ {' '.join(argv)}\n{done.stdout}")
        return Outcome(done.returncode, done.stdout)

    @property
    def engine(self) -> Engine:
        return Engine(ROOT, FOLDER / "pulumi", {processes.MARK: str(FOLDER)})

    def student(self, name: str) -> dict[str, Any]:
        """Return the roster's entry of gXsY."""
        group, _, number = name.removeprefix("g").partition("s")
        wanted = {"group": int(group), "student": int(number)}
        entry: dict[str, Any] = next(one for one in self.roster["students"] if wanted.items() <= one.items())
        return entry

    def login(self, name: str) -> GuestLogin:
        """Return how to log in to a student's guest."""
        guest = self.engine.outputs(self.stack)["guests"][name]
        known_hosts = FOLDER / f"known_hosts.{name}"
        return GuestLogin(guest["address"], guest["user"], guest["host_key"], self.key, known_hosts)

    def on(self, host: str, script: str) -> str:
        """Run a shell script on a host as root, and return what it printed."""
        with connect(self.host(host).endpoint) as session:
            return session.run(["sh", "-c", script]).stdout

    def host(self, name: str) -> Host:
        """Return a host of the stack with its pinned keys."""
        lab = Lab.from_stack_file(self.file, root=ROOT, check_files=False)
        return next(host for host in lab.hosts if host.name == name).with_known_hosts(ROOT)


def changed(outcome: Outcome) -> set[str]:
    """Return the names of the resources that a run of `pulumi up` created, changed or deleted."""
    return {name for _, name, _ in _DONE.findall(outcome.text)}


def host(name: str, number: int) -> dict[str, Any]:
    """Return a host's entry in the stack file."""
    return {
        "name": name,
        "address": str(places.address(number, NETWORK)),
        "identity_file": f"{FOLDER.relative_to(ROOT)}/id_ed25519",
        "known_hosts": f"{FOLDER.relative_to(ROOT)}/known_hosts",
        "bridge": {"port": "eth0", "rollback_timeout": 30},
    }


def roster(first: IPv4Address, *students: tuple[int, int, str]) -> dict[str, Any]:
    """Return a roster whose addresses begin at `first`."""
    network, last = str(first).rpartition(".")[::2]
    return {
        "network": f"{network}.0/24",
        "address": f"{network}.{{{last} + 10*group + student}}",
        "students": [{"group": g, "student": s, "host": h} for g, s, h in students],
    }


def states(school: School) -> dict[str, Any]:
    """Return the resources in the stack's state by URN."""
    outcome = school.pulumi("stack", "export")
    found = json.loads(outcome.text)["deployment"].get("resources", [])
    return {one["urn"]: one for one in found}
