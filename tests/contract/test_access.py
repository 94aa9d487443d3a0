"""What `make access` writes, used by ssh(1) itself: it logs in, and only where the key is the one given."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from lab.access import Access, Handout, files, sheet
from lab.report import Login
from tests.contract.conftest import Server, make_key

REFUSED = 255


def ssh(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["ssh", "-o", "BatchMode=yes", *arguments, "echo", "in"],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )


@pytest.fixture
def handout(server: Server, tmp_path: Path) -> Handout:
    """Return an environment whose guests are the server, known by its key, by another and by none."""
    place = server.endpoint

    def guest(name: str, *keys: str) -> Login:
        return Login(name, place.address, place.port, place.user, place.identity_file, keys)

    guests = (guest("good", place.host_keys[0]), guest("odd", make_key(tmp_path / "odd")), guest("new"))
    return Handout("g1s2", 1, 2, "g1", guests)


def test_names_of_the_configuration_work_where_the_key_is_the_one_given(
    handout: Handout, tmp_path: Path
) -> None:
    folder = tmp_path / "my labs 100%"
    folder.mkdir()
    for name, text in files(Access("lab", folder, (handout,), (), ())).items():
        (folder / name).write_text(text)
    before = (folder / "known_hosts").read_text()
    good, odd, new = (ssh(["-F", str(folder / "ssh_config"), name]) for name in ("good", "odd", "new"))
    assert (good.returncode, good.stdout, good.stderr) == (0, "in\n", "")
    assert (odd.returncode, odd.stdout) == (REFUSED, "")
    assert "Host key verification failed" in odd.stderr
    assert (new.returncode, new.stdout) == (REFUSED, "")
    assert re.search("No .* host key is known for new and you have requested strict checking", new.stderr)
    assert (folder / "known_hosts").read_text() == before


def test_line_and_command_of_a_sheet_log_in(handout: Handout, server: Server, tmp_path: Path) -> None:
    good = Handout("g1s2", 1, 2, "g1", handout.guests[:1])
    lines, command = re.findall(r"^```\n(.*?)^```", sheet("lab", good), re.DOTALL | re.MULTILINE)
    words = shlex.split(command)
    assert words[0] == "ssh"
    known = tmp_path / "known_hosts"
    mine = ["-F", "none", "-i", str(server.endpoint.identity_file), "-o", f"UserKnownHostsFile={known}"]
    assert ssh([*mine, *words[1:]]).returncode == REFUSED
    known.write_text(lines)
    login = ssh([*mine, *words[1:]])
    assert (login.returncode, login.stdout) == (0, "in\n"), login.stderr
