"""The inputs that every thing of a guest on a host has."""

from __future__ import annotations

from typing import Any

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPKqm3cUbuTrjjOrhZVyOUXzrgzLoGHVeBTdyZhYYcM"


def of_web() -> dict[str, Any]:
    """Return those of the guest "web" on the host g1s1, as the engine passes them: numbers are floats."""
    host = {"host": "g1s1", "address": "198.51.100.11", "port": 22.0, "user": "root", "host_keys": [KEY]}
    return {"endpoint": host, "stack": "kvm-lab/lab.g1s1", "guest": "web", "domain": "lab-web"}
