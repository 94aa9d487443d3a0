"""What the tests share: the testbed of this clone's tests, beside the one of `make up`."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed import Testbed, base, image
from tests import places

ROOT = Path(__file__).parents[1]
CACHE = ROOT / ".lab/cache"
IMAGES = ROOT / ".lab/images"
DIRECTORY = ROOT / f".lab/test{places.SUFFIX}"
LONGEST = (
    "e2e/test_student_environments.py",
    "e2e/test_lifecycle.py",
    "integration/test_student_host.py",
    "integration/test_network_bridge_faults.py",
    "integration/test_power_cut.py",
    "e2e/test_make.py",
    "integration/test_apt_packages.py",
    "integration/test_base_image.py",
)
"""Files that take minutes. They come first, so that of two runs side by side neither waits for the other."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of the longest files first, and leave the others' order as it is."""
    ranks = {ROOT / "tests" / name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path, len(ranks)))


@pytest.fixture(scope="session")
def testbed() -> Iterator[Testbed]:
    """The tests' machines. Each test module starts its own."""
    bed = Testbed(DIRECTORY, bridge=places.bridge("labtest"), subnet=places.subnet(0), cache=CACHE)
    bed.lock()  # refuses while another run of the tests has it
    bed.unlock()
    bed.stop()  # what a killed run left
    with bed:
        yield bed


@pytest.fixture(scope="session")
def debian_root() -> Path:
    """The root folder of a bare Debian machine, to run its tools in by chroot."""
    return base.build(CACHE, DIRECTORY)


@pytest.fixture(scope="session")
def guest_image() -> Path:
    """A cloud image that boots by itself, with its SHA256SUMS beside it."""
    return image.build(IMAGES, CACHE, DIRECTORY)


@pytest.fixture(scope="session")
def engine() -> None:
    """The `pulumi` command and its plugins in .lab/bin."""
    subprocess.run([ROOT / "toolchain/build", ROOT / ".lab/bin"], check=True)
