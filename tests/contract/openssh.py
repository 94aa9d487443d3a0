"""A real OpenSSH server on 127.0.0.1, in a mount namespace of its own: this machine keeps no trace.

sshd comes from the Debian package, unpacked only: installing it would start a system service.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Self

from testbed import locks

PACKAGES = ("openssh-server", "libwrap0", "libnsl2", "libtirpc3")

# a user for privilege separation and its folder are what sshd insists on; both on throw-away layers
_ENTER = """
set -eu
layer=$1/layer
mount -t tmpfs none "$layer"
mkdir "$layer/upper" "$layer/work"
mount -t overlay -o "lowerdir=/etc,upperdir=$layer/upper,workdir=$layer/work" none /etc
grep -q '^sshd:' /etc/passwd || echo 'sshd:x:74:65534::/run/sshd:/usr/sbin/nologin' >>/etc/passwd
# sshd refuses locked accounts
sed -i 's/^root:[^:]*:/root:*:/' /etc/shadow
mount -t tmpfs none /run
mkdir -p -m 0755 /run/sshd /run/lock
exec "$2" -D -e -f "$1/sshd_config"
"""


def unpack_sshd(folder: Path) -> Path:
    """Return the path of an sshd: this machine's, or one unpacked below `folder` (kept for next time)."""
    installed = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
    if installed:
        return Path(installed)
    sshd = folder / "root/usr/sbin/sshd"
    folder.mkdir(parents=True, exist_ok=True)
    lock = locks.take(folder / "lock")
    try:
        if not sshd.exists():
            download = ["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", *PACKAGES]
            subprocess.run(download, cwd=folder, check=True)
            for package in folder.glob("*.deb"):
                subprocess.run(["dpkg-deb", "-x", package, folder / "root"], check=True)
    finally:
        os.close(lock)
    return sshd


class OpenSshServer:
    """Listens on a free port of 127.0.0.1; a context manager.

    Args:
        sshd: the program.
        folder: an empty folder for configuration and log.
        host_keys: private key files.
        authorized_keys: the public keys that may log in.
    """

    def __init__(self, sshd: Path, folder: Path, host_keys: list[Path], authorized_keys: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]
        self._sshd = sshd
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "layer").mkdir(parents=True)
        lines = [
            f"Port {self.port}",
            "ListenAddress 127.0.0.1",
            *(f"HostKey {key}" for key in host_keys),
            f"AuthorizedKeysFile {authorized_keys}",
            f"PidFile {folder / 'pid'}",
            "StrictModes no",
            "UsePAM no",
            "PasswordAuthentication no",
            "LogLevel VERBOSE",
            # one test opens more connections at once than a person would
            "MaxStartups 100",
        ]
        (folder / "sshd_config").write_text("\n".join(lines) + "\n")

    def __enter__(self) -> Self:
        libraries = self._sshd.parents[1] / "lib/x86_64-linux-gnu"
        argv = ["unshare", "--mount", "--", "sh", "-c", _ENTER, "sh", str(self._folder), str(self._sshd)]
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                argv,
                stdout=log,
                stderr=log,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LD_LIBRARY_PATH": str(libraries)},
            )
        self._await_port()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait(10)

    def _await_port(self) -> None:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            if self._process and self._process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise RuntimeError(f"sshd did not start: {(self._folder / 'log').read_text()}")
