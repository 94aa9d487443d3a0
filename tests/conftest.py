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
DIRECTORY = ROOT / f".lab/test{places.SLOT or ''}"


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
