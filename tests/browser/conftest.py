"""What the tests with a browser share."""

from __future__ import annotations

import subprocess

import pytest

from tests.browser.browser import HERE


@pytest.fixture(scope="session", autouse=True)
def npm() -> None:
    """npm's packages, fetched once and checked."""
    subprocess.run([HERE / "fetch"], check=True)
