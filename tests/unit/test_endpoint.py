"""Where a host is, and which keys are pinned."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from providers.transport import Endpoint, fingerprint

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2ilL8y4w4mPvvVjv4n2mN2pW0m5x9QvSx3mT4o6o4r"


def endpoint(**changes: object) -> dict[str, Any]:
    return {"host": "g1s1", "address": "198.51.100.11", "host_keys": [KEY], **changes}


def test_comment_of_a_key_is_dropped() -> None:
    assert Endpoint.model_validate(endpoint(host_keys=[f" {KEY} root@g1s1\n"])).host_keys == (KEY,)


def test_fingerprint_is_the_one_of_ssh_keygen() -> None:
    # ssh-keygen -lf of the key above
    assert fingerprint(KEY) == "SHA256:zW/z2eMrNWQ3wrBFIy+MaxsLo2P7XNciUy/S032/jfY"


@pytest.mark.parametrize(
    "key",
    [
        "",
        "ssh-ed25519",
        f"198.51.100.11 {KEY}",
        KEY.replace("ssh-ed25519", "ssh-rsa"),
        KEY[:40],
        KEY[:-4],
        KEY + "!",
        "ssh-dss AAAAB3NzaC1kc3MAAACBAO",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5",
    ],
)
def test_what_is_no_host_key(key: str) -> None:
    with pytest.raises(ValidationError, match="host_keys"):
        Endpoint.model_validate(endpoint(host_keys=[key]))


@pytest.mark.parametrize(
    "change",
    [
        {"address": "-oProxyCommand=x"},
        {"address": "a b"},
        {"address": ""},
        {"user": "root;reboot"},
        {"user": "-l"},
        {"port": 0},
        {"port": 65536},
        {"host": ""},
        {"identity_file": ""},
        {"hostkeys": []},
    ],
)
def test_what_is_no_endpoint(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Endpoint.model_validate(endpoint(**change))


@pytest.mark.parametrize("address", ["g1s1.lab.example", "2001:db8::1", "fe80::1%eth0", "198.51.100.11"])
def test_addresses(address: str) -> None:
    assert Endpoint.model_validate(endpoint(address=address, port=22.0)).address == address
