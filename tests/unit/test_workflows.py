"""What .github/workflows must and must not do, read from the files; each demand finds its breaches."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".github/workflows"
PINS = {
    "actions/checkout": "3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1",
    "actions/upload-artifact": "bbbca2ddaa5d8feaa63e36b76fdaad77386f024f # v7.0.0",
    "actions/download-artifact": "3e5f45b2cfb9172054b4087a40e8e0b5a5461e7c # v8.0.1",
    "actions/setup-go": "b7ad1dad31e06c5925ef5d2fc7ad053ef454303e # v7.0.0",
    "actions/github-script": "ed597411d8f924073f98dfc5c65a23a2325f34cd # v8.0.0",
}
TRIGGERS = {
    "preview": {"pull_request": {"branches": ["main"]}},
    "comment": {"workflow_run": {"workflows": ["preview"], "types": ["completed"]}},
    "drift": {"schedule": [{"cron": "17 2 * * *"}], "workflow_dispatch": ""},
}
PERMISSIONS = {
    "preview/preview": {"contents": "read", "actions": "read"},
    "comment/comment": {"actions": "read", "pull-requests": "write"},
    "up/plan": {"contents": "read"},
    "up/verdicts": {},
    "up/deploy": {"contents": "read"},
    "drift/drift": {"contents": "read"},
    "drift/tell": {"issues": "write"},
}
ENVIRONMENTS = {"up/plan": "lab", "up/deploy": "${{ matrix.environment }}", "drift/drift": "lab"}
MAKE_TARGETS = {
    "preview": {"preview-report"},
    "comment": set(),
    "up": {"setup", "preview-report", "deploy", "state-export"},
    "drift": {"state-export", "drift"},
}
WAYS_TO_WRITE_AT = ("&#64;", "&#64", "&#0064;", "&#x40;", "&#X0040", "&commat;", "&CommAt")
LARGEST_COMMENT = 65_536
"""Characters; GitHub's limit."""


@dataclass(frozen=True)
class Workflows:
    """The files by name without ".yml", as text; parsed without booleans, of which YAML 1.1's `on` is one."""

    texts: Mapping[str, str]

    def parsed(self, name: str) -> dict[str, Any]:
        return cast("dict[str, Any]", yaml.load(self.texts[name], yaml.BaseLoader))  # noqa: S506 - texts only

    def jobs(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield each job as "workflow/job"."""
        for name in self.texts:
            for job, content in self.parsed(name)["jobs"].items():
                yield f"{name}/{job}", content

    def steps(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for job, content in self.jobs():
            for step in content["steps"]:
                yield job, step

    def scripts(self) -> Iterator[tuple[str, str]]:
        """Yield what is run as code: in a shell, or by actions/github-script."""
        for job, step in self.steps():
            code = step.get("run") or step.get("with", {}).get("script")
            if code:
                yield job, code


def read() -> Workflows:
    return Workflows({path.stem: path.read_text() for path in sorted(FOLDER.iterdir())})


def there_are_these_four(flows: Workflows) -> bool:
    return set(flows.texts) == set(MAKE_TARGETS)


def triggers(flows: Workflows) -> bool:
    up = flows.parsed("up")["on"]
    rest = all(flows.parsed(name)["on"] == on for name, on in TRIGGERS.items())
    return rest and up["push"] == {"branches": ["main"]} and set(up) == {"push", "workflow_dispatch"}


def no_pull_request_target(flows: Workflows) -> bool:
    return not any("pull_request_target" in text for text in flows.texts.values())


def permissions(flows: Workflows) -> bool:
    none_by_default = all(flows.parsed(name).get("permissions") == {} for name in flows.texts)
    return none_by_default and {job: content["permissions"] for job, content in flows.jobs()} == PERMISSIONS


def no_secret_beside_foreign_code(flows: Workflows) -> bool:
    texts = [str(flows.parsed("preview")), str(flows.parsed("comment"))]
    secret = re.compile(r"\$\{\{[^}]*\bsecrets\b|secrets: inherit|SSH_KEY|PASSPHRASE|BACKEND", re.IGNORECASE)
    return not any(secret.search(text) for text in texts)


def foreign_code_runs_on_githubs_machines(flows: Workflows) -> bool:
    return any(job == "preview/preview" and one["runs-on"] == "ubuntu-24.04" for job, one in flows.jobs())


def secrets_only_of_environments_and_in_steps(flows: Workflows) -> bool:
    for job, content in flows.jobs():
        outside = {key: value for key, value in content.items() if key != "steps"}
        others = [{**step, "env": None} for step in content["steps"]]
        with_secret = [step for step in content["steps"] if "secrets." in str(step.get("env"))]
        if "secrets." in f"{outside}{others}" or (with_secret and job not in ENVIRONMENTS):
            return False
    return not any("secrets." in str(flows.parsed(name).get("env")) for name in flows.texts)


def ssh_key_only_where_hosts_are_reached(flows: Workflows) -> bool:
    keyed = [step for _, step in flows.steps() if "LAB_SSH_KEY" in str(step)]
    return [step["name"] for step in keyed] == ["Compare", "Deploy"] and all(
        "scripts/with-ssh-key make " in step["run"] for step in keyed
    )


def pins(flows: Workflows) -> bool:
    used = [
        line.split("uses:", 1)[1].strip()
        for text in flows.texts.values()
        for line in text.splitlines()
        if "uses:" in line
    ]
    named = sum("uses" in step for _, step in flows.steps())
    return len(used) == named and set(used) == {f"{action}@{pin}" for action, pin in PINS.items()}


def no_credentials_left_in_a_checkout(flows: Workflows) -> bool:
    checkouts = [step for _, step in flows.steps() if step.get("uses", "").startswith("actions/checkout@")]
    return len(checkouts) == 5 and all(
        step.get("with", {}).get("persist-credentials") == "false" for step in checkouts
    )


def nothing_is_written_into_code(flows: Workflows) -> bool:
    return not any("${{" in code for _, code in flows.scripts())


def the_comment_runs_no_code_of_others(flows: Workflows) -> bool:
    steps = [step for job, step in flows.steps() if job == "comment/comment"]
    actions = {step.get("uses", "").partition("@")[0] for step in steps}
    code = [code for job, code in flows.scripts() if job == "comment/comment"]
    return (
        actions == {"actions/download-artifact", "actions/github-script"}
        and not any("run" in step for step in steps)
        and set(re.findall(r"require\((.*?)\)", code[0])) == {'"fs"', '"path"'}
        and not re.search(r"\b(eval|Function|exec|import)\b\s*\(", code[0])
    )


def the_comment_trusts_no_number(flows: Workflows) -> bool:
    (code,) = (code for job, code in flows.scripts() if job == "comment/comment")
    longest = re.search(r"LONGEST = ([0-9]+);", code)
    return (
        "/^[1-9][0-9]{0,9}$/.test(hint)" in code
        and "data.head.sha === run.head_sha" in code
        and "data.head.repo?.full_name === run.head_repository.full_name" in code
        and "found.isFile()" in code
        and longest is not None
        and int(longest[1]) < LARGEST_COMMENT - 300
    )


def one_run_at_a_time_for_each_stack(flows: Workflows) -> bool:
    jobs = dict(flows.jobs())
    alone = {"group": "stack-${{ matrix.stack }}", "cancel-in-progress": "false"}
    return all(jobs[job]["concurrency"] == alone for job in ENVIRONMENTS)


def environments(flows: Workflows) -> bool:
    return {job: one["environment"] for job, one in flows.jobs() if "environment" in one} == ENVIRONMENTS


def red_asks_for_approval(flows: Workflows) -> bool:
    codes = dict(flows.scripts())
    deploy = next(step for _, step in flows.steps() if step.get("name") == "Deploy")
    return (
        '(if .red == false then "lab" else "lab-approval" end)' in codes["up/verdicts"]
        and "map(select(.refused == false)" in codes["up/verdicts"]
        and deploy["env"]["APPROVAL"] == "${{ matrix.environment == 'lab-approval' && '1' || '' }}"
        and '[ "$APPROVAL" = 1 ]' in deploy["run"]
        and deploy["run"].count("APPROVED=1") == 1
        and 'if [ "$(jq -cS "$summary" ".lab/plan/$STACK.json")" !=' in deploy["run"]
    )


def plans_are_whole(flows: Workflows) -> bool:
    """Without --show-sames a plan leaves out what stays, and with it the parents of what changes."""
    plans = [
        line
        for _, code in flows.scripts()
        for line in code.replace("\\\n", " ").splitlines()
        if "pulumi preview" in line
    ]
    return bool(plans) and all("--show-sames" in line.split() for line in plans)


def mentions_nobody(flows: Workflows) -> bool:
    """Whether each way of writing "@", as an entity too, is replaced before anything else is."""
    (code,) = (code for job, code in flows.scripts() if job == "comment/comment")
    entities = re.search(r"markdown\.replace\(/(\S+)/gi, \"@\"\)\.replaceAll\(\"@\", \"@\\u200b\"\)", code)
    return entities is not None and all(
        re.fullmatch(entities[1], one, re.IGNORECASE) for one in WAYS_TO_WRITE_AT
    )


def the_stripped_state_is_uploaded_whatever_happened(flows: Workflows) -> bool:
    steps = [
        (job, step)
        for job, step in flows.steps()
        if "stripped-state" in str(step.get("with")) and step["uses"].startswith("actions/upload-artifact@")
    ]
    whole = all(
        step["if"] == "always()" and step["with"]["path"].endswith("/state.json") for _, step in steps
    )
    return whole and [job for job, _ in steps] == ["drift/drift", "up/deploy"]


def only_mains_state_is_previewed_against(flows: Workflows) -> bool:
    code = "".join(code for job, code in flows.scripts() if job == "preview/preview")
    return '.head_branch == "main" and .head_repository_id == .repository_id' in code


def no_cache_where_secrets_are(flows: Workflows) -> bool:
    trusted = [
        step for job, step in flows.steps() if job in ENVIRONMENTS and "setup-go" in step.get("uses", "")
    ]
    return len(trusted) == len(ENVIRONMENTS) and all(step["with"].get("cache") == "false" for step in trusted)


def every_job_ends(flows: Workflows) -> bool:
    return all(0 < int(job.get("timeout-minutes", 0)) <= 360 for _, job in flows.jobs())


def make_targets(flows: Workflows) -> bool:
    called: dict[str, set[str]] = {name: set() for name in flows.texts}
    for job, code in flows.scripts():
        called[job.split("/")[0]] |= set(
            re.findall(r"^(?:[^#\n]*\s)?make ([a-z-]+)(?= |$)", code, re.MULTILINE)
        )
    return called == MAKE_TARGETS


Demand = Callable[[Workflows], bool]
# each with edits that break it: a file, a text in it, and what takes its place
BREACHES: dict[Demand, list[tuple[str, str, str]]] = {
    triggers: [
        ("preview", "  pull_request:\n    branches: [main]", "  push:"),
        ("comment", "workflows: [preview]", "workflows: [preview, other]"),
        ("up", "  push:\n    branches: [main]", "  push:"),
        ("up", "  workflow_dispatch:", "  pull_request:"),
        ("drift", '    - cron: "17 2 * * *" # UTC', '    - cron: "17 2 1 * *"'),
    ],
    no_pull_request_target: [("preview", "  pull_request:", "  pull_request_target:")],
    permissions: [
        ("preview", "permissions: {}\n", ""),
        ("preview", "contents: read", "contents: write"),
        ("comment", "pull-requests: write", "contents: write"),
        ("up", "permissions: {}\n\njobs", "permissions: write-all\n\njobs"),
        ("drift", "      issues: write", "      issues: write\n      actions: write"),
    ],
    no_secret_beside_foreign_code: [
        ("preview", "${{ github.token }}", "${{ secrets.TOKEN }}"),
        ("preview", "${{ github.token }}", "${{ toJSON(secrets) }}"),
        ("preview", "GH_TOKEN", "PULUMI_CONFIG_PASSPHRASE"),
        ("comment", "${{ github.token }}", "${{ secrets['TOKEN'] }}"),
    ],
    foreign_code_runs_on_githubs_machines: [("preview", "runs-on: ubuntu-24.04", "runs-on: self-hosted")],
    secrets_only_of_environments_and_in_steps: [
        ("up", "permissions: {}\n\njobs", "env:\n  KEY: ${{ secrets.LAB_SSH_KEY }}\n\njobs"),
        ("up", "    environment: lab\n", "    environment: lab\n    env: {A: '${{ secrets.A }}'}\n"),
        ("drift", "${{ needs.drift.result }}", "${{ secrets.LAB_SSH_KEY }}"),
        ("up", "persist-credentials: false", "persist-credentials: false\n          token: ${{ secrets.A }}"),
    ],
    ssh_key_only_where_hosts_are_reached: [
        ("up", "run: make state-export", "run: LAB_SSH_KEY= make state-export"),
        ("drift", "scripts/with-ssh-key make drift", "make drift"),
    ],
    pins: [
        (
            "preview",
            "actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1",
            "actions/checkout@v7",
        ),
        ("comment", " # v8.0.0", ""),
        ("up", "bbbca2ddaa5d8feaa63e36b76fdaad77386f024f", "bbbca2ddaa5d8feaa63e36b76fdaad77386f024e"),
        ("drift", "actions/setup-go@", "someone/setup-go@"),
    ],
    no_credentials_left_in_a_checkout: [
        ("preview", "          persist-credentials: false\n", ""),
        ("drift", "persist-credentials: false", "persist-credentials: true"),
    ],
    nothing_is_written_into_code: [
        ("preview", 'echo "$NUMBER"', 'echo "${{ github.event.pull_request.title }}"'),
        (
            "comment",
            "const LONGEST",
            "const a = `${{ github.event.workflow_run.head_branch }}`; const LONGEST",
        ),
    ],
    the_comment_runs_no_code_of_others: [
        ("comment", "actions/download-artifact@", "actions/checkout@"),
        ("comment", "      - name: Comment\n", "      - run: make report\n      - name: Comment\n"),
        ("comment", 'require("path")', 'require("child_process")'),
        ("comment", "for (const stack of", 'eval(text("x", 9));\n            for (const stack of'),
    ],
    the_comment_trusts_no_number: [
        ("comment", "/^[1-9][0-9]{0,9}$/.test(hint)", "true"),
        ("comment", "data.head.sha === run.head_sha", "true"),
        ("comment", "!found.isFile() ||", ""),
        ("comment", "LONGEST = 65000", "LONGEST = 6500000"),
    ],
    one_run_at_a_time_for_each_stack: [
        ("up", "      group: stack-${{ matrix.stack }}", "      group: ${{ github.run_id }}"),
        ("up", "cancel-in-progress: false", "cancel-in-progress: true"),
        ("drift", "group: stack-", "group: drift-"),
    ],
    environments: [
        ("up", "    environment: ${{ matrix.environment }} #", "    #"),
        ("up", "    environment: lab\n", ""),
        ("preview", "    timeout-minutes", "    environment: lab\n    timeout-minutes"),
    ],
    red_asks_for_approval: [
        ("up", 'if .red == false then "lab" else "lab-approval"', 'if .red then "lab" else "lab"'),
        ("up", "select(.refused == false)", "select(true)"),
        ("up", "matrix.environment == 'lab-approval' && '1'", "'1'"),
        ("up", 'make deploy STACK="$STACK" OUT=.lab/deploy ||', "make deploy APPROVED=1 ||"),
        ("up", 'if [ "$(jq -cS', 'if false && [ "$(jq -cS'),
    ],
    plans_are_whole: [("up", " --show-sames", ""), ("up", "--show-sames", "--show-sames-not")],
    mentions_nobody: [
        ("comment", '.replaceAll("@", "@\\u200b")', ""),
        ("comment", "|commat", ""),
        ("comment", "x0*40", "x40"),
        ("comment", ";?/gi", ";/gi"),
    ],
    the_stripped_state_is_uploaded_whatever_happened: [
        (
            "up",
            "Upload it for previews\n        if: always()",
            "Upload it for previews\n        if: success()",
        ),
        ("up", "path: .lab/deploy/state.json", "path: .lab"),
        ("drift", "name: stripped-state-${{ matrix.stack }}", "name: state"),
    ],
    only_mains_state_is_previewed_against: [
        (
            "preview",
            '.head_branch == "main" and .head_repository_id',
            '.head_branch == "main" or .repository_id',
        ),
    ],
    no_cache_where_secrets_are: [("up", "          cache: false #", "          #")],
    every_job_ends: [
        ("preview", "    timeout-minutes: 30\n", ""),
        ("up", "timeout-minutes: 360", "timeout-minutes: 3600"),
    ],
    make_targets: [
        ("preview", "make preview-report", "make report"),
        ("up", "          make setup\n", "          make setup\n          make down\n"),
        ("drift", "          make state-export", "          true"),
    ],
}
CASES = [(demand, *edit) for demand, edits in BREACHES.items() for edit in edits]


def test_there_is_nothing_but_the_four_workflows() -> None:
    assert there_are_these_four(read())


@pytest.mark.parametrize("demand", BREACHES, ids=lambda one: one.__name__)
def test_the_workflows_meet(demand: Demand) -> None:
    assert demand(read())


@pytest.mark.parametrize(
    ("demand", "name", "there", "instead"), CASES, ids=[f"{case[0].__name__}: {case[1]}" for case in CASES]
)
def test_a_breach_is_found(demand: Demand, name: str, there: str, instead: str) -> None:
    flows = read()
    assert there in flows.texts[name]
    broken = Workflows({**flows.texts, name: flows.texts[name].replace(there, instead, 1)})
    assert not demand(broken)


def test_every_make_target_that_is_called_is_there() -> None:
    there = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set().union(*MAKE_TARGETS.values()) <= there
