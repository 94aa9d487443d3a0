"""What a run declares of a lab: all of it, or one part beside which the rest stays as it is.

`pulumi up --target` leaves alone what is not targeted, whether the program declares it or not. To declare a
class of forty takes the program several times what it takes for the one student who gets a new disk.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from config import Environment, Guest, Host, Lab
from providers.errors import LabError

FILE = "KVM_LAB_PART"
"""The environment variable of a run for a part: a file that is there as long as the run, see `written`.

A run of all without --target would delete what is not declared: a variable that stayed behind in some shell
names no file any more, and is refused.
"""


def written(stack: str, names: Iterable[str], outputs: Mapping[str, Any]) -> str:
    """Return what the file says of a run that declares these environments only, and their hosts.

    Args:
        stack: the stack's name.
        names: the environments'.
        outputs: the stack's before the run, of which those of all others stay.
    """
    return json.dumps({"stack": stack, "environments": list(names), "outputs": dict(outputs)})


@dataclass(frozen=True)
class Part:
    """What is declared.

    Attributes:
        hosts: the hypervisors.
        environments: the students'.
        guests: those that are nobody's, with their hosts.
        outputs: the stack's before; empty where all is declared.
    """

    hosts: Sequence[Host]
    environments: Sequence[Environment]
    guests: Sequence[tuple[Host, Guest]]
    outputs: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of_run(cls, lab: Lab, stack: str) -> Self:
        """Return what this run is to declare of the lab.

        Raises:
            LabError: the environment asks for a part that is not known, or not of this stack.
        """
        file = os.environ.get(FILE)
        if file is not None:
            return cls._as_written(lab, stack, file)
        of_students = {guest.name for one in lab.environments for guest in one.guests}
        guests = [(host, guest) for host, guest in lab.guests if guest.name not in of_students]
        return cls(lab.hosts, lab.environments, guests, {})

    @classmethod
    def _as_written(cls, lab: Lab, stack: str, file: str) -> Self:
        remedy = f"take {FILE} out of the environment; it is for runs that name their targets"
        try:
            wanted = json.loads(Path(file).read_text(encoding="utf-8"))
        except OSError as error:
            raise LabError(f"declare the part of the lab that {FILE} names", str(error), remedy) from None
        chosen = [one for one in lab.environments if one.name in wanted["environments"]]
        if wanted["stack"] != stack or {one.name for one in chosen} != set(wanted["environments"]):
            seen = f"it names {', '.join(wanted['environments'])} of the stack {wanted['stack']}"
            raise LabError(f"declare a part of the lab, for the stack {stack}", seen, remedy)
        needed = {one.host.name for one in chosen}
        return cls([host for host in lab.hosts if host.name in needed], chosen, [], wanted["outputs"])

    def with_others(self, output: str, declared: Mapping[str, Any]) -> dict[str, Any]:
        """Return the stack's output of that name: what was declared, beside what it had of all others."""
        return {**self.outputs.get(output, {}), **declared}
