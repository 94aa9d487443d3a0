"""Bare Debian machines (systemd-nspawn on a bridge), for `make up` without hosts and for tests.

Everything lies in one folder (`.lab/testbed`), but for what belongs to this machine as a whole: a bridge with
its cables, a route, an nftables table and IP forwarding. Those are written down in `/run/kvm-lab` before they
change, and every process carries the folder's name in its environment, so that `down` can undo a run that was
killed at any point.
"""

from testbed.lab import Testbed
from testbed.machine import Machine, Spec

__all__ = ["Machine", "Spec", "Testbed"]
