"""How long a joining port waits: measured in short, and docs/forward-delay.md has a row for every case."""

from __future__ import annotations

import json
import re
import subprocess
import sys

from bench import forward_delay
from bench.forward_delay import Case, Row
from tests.conftest import ROOT

PAGE = ROOT / "docs/forward-delay.md"


def test_a_port_waits_with_stp_only() -> None:
    argv = [sys.executable, "-m", "bench", "forward-delay", "--quick", "--rounds", "1", "--json"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True)
    without, on = (Row(**{**row, "case": Case(**row["case"])}) for row in json.loads(done.stdout))
    assert (without.case, on.case) == forward_delay.QUICK
    assert (without.refusal, on.refusal) == ("", "")
    # a tenth of a second: two timers of the kernel, each of which may be a tick short
    assert -0.1 <= on.waits[0] - 2 * on.case.forward_delay <= 1
    assert without.waits[0] < 1


def test_what_the_kernel_refuses_is_told_without_a_traceback() -> None:
    taken = 'ip link add br0 type bridge && exec "$@"'
    argv = [sys.executable, "-m", "bench", "forward-delay", "--quick", "--rounds", "1", "--inside"]
    inside = ["unshare", "--net", "sh", "-c", taken, "sh", *argv]
    done = subprocess.run(inside, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "bench: NetlinkError: (17, 'File exists')\n"


def test_the_page_has_the_table_that_the_script_prints() -> None:
    made = forward_delay.table([Row(case, waits=(1.0,)) for case in forward_delay.CASES])
    page = [line for line in PAGE.read_text().splitlines() if line.startswith("|")]
    assert [cells(line)[:2] for line in page] == [cells(line)[:2] for line in made.splitlines()]
    refused = Case(stp=True, forward_delay=0)
    for case, line in zip(forward_delay.CASES, page[2:], strict=True):
        seen = "refused" if case == refused else r"\d+\.\d{3} s \("
        assert re.match(seen, cells(line)[2]), line
    assert cells(page[0]) == cells(made.splitlines()[0])


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]
