"""The stack that the end-to-end tests widen, and its machines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed import Machine, Spec, Testbed
from tests import places
from tests.conftest import DIRECTORY, ROOT
from tests.e2e.stack import Stack, host_entry

IMAGE = {
    "name": "debian-12",
    "path": ".lab/images/debian-12.qcow2",
    "checksum_file": ".lab/images/SHA256SUMS",
}


@pytest.fixture(scope="module")
def machine(testbed: Testbed, engine: None, guest_image: Path) -> Iterator[Machine]:  # noqa: ARG001
    """A bare machine for one test module."""
    (started,) = testbed.start([Spec(name="e1", address=places.address(21))])
    started.reset()
    yield started
    started.poweroff()


@pytest.fixture(scope="module")
def stack(machine: Machine, request: pytest.FixtureRequest) -> Iterator[Stack]:
    """A stack with that machine; what it printed is shown when a test of the module fails."""
    made = Stack("e2e", DIRECTORY / "e2e", DIRECTORY, [host_entry(machine)], [IMAGE])
    failed = request.session.testsfailed
    yield made
    if request.session.testsfailed > failed:
        print(made.log)  # noqa: T201 - pytest shows it with the failure
    made.forget()


@pytest.fixture(scope="session")
def login_key(testbed: Testbed) -> dict[str, str]:
    """The key that logs in to the tests' guests, as the stack file names it."""
    private = testbed.directory / "id_ed25519"
    return {"private": str(private), "public": str(private.with_suffix(".pub").relative_to(ROOT))}
