"""Private key files as ssh-keygen makes them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from providers.transport.identity import load_key


@pytest.mark.parametrize("form", ["RFC4716", "PEM"])
@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_every_kind_of_key_can_be_read(kind: str, form: str, tmp_path: Path) -> None:
    path = tmp_path / "key"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", kind, "-m", form, "-N", "", "-C", "", "-f", str(path)], check=True
    )
    public = path.with_suffix(".pub").read_text().split()
    # the comment's length decides on the padding, on which some readers stumble
    for length in range(8):
        subprocess.run(["ssh-keygen", "-q", "-c", "-C", "c" * length, "-f", str(path)], check=True)
        key = load_key(path)
        assert [key.get_name(), key.get_base64()] == public[:2]
