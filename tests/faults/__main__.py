"""`python -m tests.faults`: every named case and many random ones, with a table of how they ended."""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
import time
from collections.abc import Sequence

from testbed import Testbed
from tests import places
from tests.conftest import CACHE, ROOT
from tests.faults import suite
from tests.faults.drawn import draws
from tests.faults.named import CASES
from tests.faults.rig import Case, Verdict

FEWEST_NAMED = 30
FEWEST_DRAWN = 100
_DIRECTORY = ROOT / ".lab/faults"
_NETWORK = 6
_LARGEST_SEED = 10**6
_NAME_WIDTH = 57


def main(arguments: Sequence[str]) -> int:
    """Run the suite, or the part of it that is asked for; return 0 when all of it passed."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seed", type=int, help="of the random cases; a new one for each run")
    parser.add_argument("--only", help="only the cases with these words in their name: 'power cut', 'r17'")
    parser.add_argument("--machines", type=int, default=6, help="how many run cases at once")
    options = parser.parse_args(arguments)
    seed = random.randrange(_LARGEST_SEED) if options.seed is None else options.seed  # noqa: S311
    everything = [*CASES.values(), *(draw.case for draw in draws(seed, FEWEST_DRAWN))]
    chosen = [case for case in everything if _chosen(case, options.only)]
    began = time.monotonic()
    _say(f"seed {seed}: `make faults SEED={seed}` repeats the random cases r1 to r{FEWEST_DRAWN}\n")
    verdicts = _run(chosen, options.machines)
    return _conclude(chosen, verdicts, whole=options.only is None, seconds=time.monotonic() - began)


def _chosen(case: Case, only: str | None) -> bool:
    return only is None or only in {case.name, case.name.split()[0]} or (" " in only and only in case.name)


def _run(cases: Sequence[Case], machines: int) -> list[Verdict]:
    bed = Testbed(_DIRECTORY, bridge=places.bridge("labfault"), subnet=places.subnet(_NETWORK), cache=CACHE)
    _DIRECTORY.mkdir(parents=True, exist_ok=True)
    with bed, (_DIRECTORY / "progress.log").open("w") as log, contextlib.redirect_stderr(log):
        hands = suite.workers(bed, cases, machines)
        _say(f"{'case':{_NAME_WIDTH}} ended silent   took\n")
        return suite.run(cases, hands, _report)


def _report(verdict: Verdict) -> None:
    name = verdict.case if len(verdict.case) <= _NAME_WIDTH else verdict.case[: _NAME_WIDTH - 1] + "…"
    ended = "FAILED" if verdict.problem else verdict.configuration
    _say(f"{name:{_NAME_WIDTH}} {ended:6}{verdict.silence:4.0f} s {verdict.seconds:4.0f} s\n")
    if verdict.problem:
        _say("    " + verdict.problem.replace("\n", "\n    ") + "\n")


def _conclude(cases: Sequence[Case], verdicts: Sequence[Verdict], *, whole: bool, seconds: float) -> int:
    failed = [verdict for verdict in verdicts if verdict.problem]
    ran = {verdict.case for verdict in verdicts}
    named = len(ran & CASES.keys())
    drawn = len(ran) - named
    skipped = len(cases) - len(ran)
    _say(
        f"\n{named} named and {drawn} random cases ran in {seconds / 60:.1f} min: "
        f"{len(verdicts) - len(failed)} passed, {len(failed)} failed, {skipped} skipped\n"
    )
    too_few = whole and (named < FEWEST_NAMED or drawn < FEWEST_DRAWN)
    return 1 if failed or skipped or too_few or not ran else 0


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
