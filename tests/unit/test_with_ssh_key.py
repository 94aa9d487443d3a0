"""The key of a workflow's secret reaches an agent, and neither the command nor a file."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

SCRIPT = Path(__file__).parents[2] / "scripts/with-ssh-key"


@pytest.fixture
def key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


def run(command: str, secret: str | None, home: Path) -> subprocess.CompletedProcess[str]:
    """Run `command` in a shell beside the agent, with `home` for all files that might be written."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(home)}
    if secret is not None:
        environment["LAB_SSH_KEY"] = secret
    argv = [str(SCRIPT), "sh", "-c", command]
    return subprocess.run(argv, env=environment, cwd=home, capture_output=True, text=True, check=False)


def test_the_agent_has_the_key_and_the_command_has_not(key: Ed25519PrivateKey, tmp_path: Path) -> None:
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    done = run('ssh-add -L; env; grep -rl PRIVATE . ; echo "$SSH_AGENT_PID"; exit 3', private, tmp_path)
    assert done.returncode == 3, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith(public)
    assert "PRIVATE" not in done.stdout
    assert not [line for line in lines if line.startswith(("LAB_SSH_KEY", "./"))]
    assert lines[-1].isdigit()


@pytest.mark.parametrize("secret", [None, "", "no key"])
def test_without_a_key_the_command_is_not_run(secret: str | None, tmp_path: Path) -> None:
    done = run("echo ran", secret, tmp_path)
    assert done.returncode != 0
    assert "ran" not in done.stdout
