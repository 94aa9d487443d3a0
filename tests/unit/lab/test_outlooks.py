"""What is printed about hosts that were looked at."""

from __future__ import annotations

import subprocess
from pathlib import Path

from lab.glances import NoAnswer
from lab.look import Sight
from lab.outlooks import report
from providers.errors import LabError
from providers.host_network import ChangeUnderWay
from providers.state.bridge_refusals import Refusal
from providers.state.outlook import FileChange, Outlook, file_changes, unified
from providers.transport import AuthError, ConnectError, HostKeyMismatch

PATH = "/etc/network/interfaces"
OLD = "auto eth0\niface eth0 inet static\n    address 192.0.2.10/24\n"
NEW = "auto eth0\niface eth0 inet manual\n\nauto br0\niface br0 inet static\n    address 192.0.2.10/24\n"
TAKEOVER = Outlook(
    "activate",
    (FileChange(PATH, OLD, NEW),),
    (
        "br0 takes over 192.0.2.10/24 and the default route via 192.0.2.1 from eth0",
        "this connection runs over eth0",
    ),
)


def shown(*sights: Sight, colour: bool = False) -> str:
    return report(sights, colour=colour)


def test_a_takeover_is_a_sentence_and_a_diff() -> None:
    assert shown(Sight("g1s1", (TAKEOVER,))) == (
        "g1s1: changes, and its network is down for a moment\n"
        "  br0 takes over 192.0.2.10/24 and the default route via 192.0.2.1 from eth0;\n"
        "  this connection runs over eth0\n"
        f"--- g1s1:{PATH}\n"
        f"+++ g1s1:{PATH}\n"
        "@@ -1,3 +1,6 @@\n"
        " auto eth0\n"
        "-iface eth0 inet static\n"
        "+iface eth0 inet manual\n"
        "+\n"
        "+auto br0\n"
        "+iface br0 inet static\n"
        "     address 192.0.2.10/24\n"
        "\n"
        "1 host: 1 down for a moment"
    )


def test_patch_makes_the_new_file_of_the_old_one(tmp_path: Path) -> None:
    for old, new in ((OLD, NEW), (OLD.rstrip("\n"), NEW), (OLD, NEW.rstrip("\n")), (OLD, "a\x0bb\r\n")):
        (tmp_path / "file").write_text(old, newline="")
        diff = unified("g1s1", FileChange(PATH, old, new))
        escaped = "\n".join(diff) + "\n"
        subprocess.run(
            ["patch", "--quiet", "--binary", str(tmp_path / "file")], input=escaped.encode(), check=True
        )
        assert (tmp_path / "file").read_bytes().decode() == new


def test_files_that_come_and_go_are_named_so() -> None:
    come, gone = file_changes({"/etc/b": "x\n", "/etc/same": "y\n"}, {"/etc/a": "x\n", "/etc/same": "y\n"})
    assert unified("h", come) == ["--- h:/etc/b", "+++ /dev/null", "@@ -1 +0,0 @@", "-x"]
    assert unified("h", gone) == ["--- /dev/null", "+++ h:/etc/a", "@@ -0,0 +1 @@", "+x"]


def test_several_looks_make_one_verdict() -> None:
    live = Outlook("live", sentences=("br0: STP goes off",))
    assert shown(Sight("a", (Outlook(), live))).startswith("a: changes live, nothing goes down\n  br0: STP")
    both = shown(Sight("a", (live, Outlook("activate", sentences=("eth0 goes",)))))
    assert both.startswith("a: changes, and its network is down for a moment\n  br0: STP goes off; eth0 goes")
    assert shown(Sight("a", (Outlook(), Outlook()))).startswith("a: nothing to do\n\n1 host: 1 nothing")


def test_refusals_come_with_their_remedies_each_once() -> None:
    remedy = "mend these lines and run again"
    refused = Outlook(
        refusals=(Refusal("line 3", remedy), Refusal("line 4", remedy), Refusal("no eth7", "name another"))
    )
    assert shown(Sight("a", (refused, Outlook("live")))).splitlines()[:6] == [
        "a: the bridge would be refused, the network stays as it is",
        "  line 3",
        "  line 4",
        "  to do: mend these lines and run again",
        "  no eth7",
        "  to do: name another",
    ]


def test_what_comes_before_a_refusal_is_told_and_what_comes_after_it_is_not() -> None:
    refused = Outlook(refusals=(Refusal("another stack wants it on", "agree"),))
    taken = shown(Sight("a", (TAKEOVER, refused))).splitlines()
    assert taken[:5] == [
        "a: changes, and its network is down for a moment; then the bridge netfilter",
        "  would be refused",
        "  br0 takes over 192.0.2.10/24 and the default route via 192.0.2.1 from eth0;",
        "  this connection runs over eth0",
        "  another stack wants it on",
    ]
    assert f"+++ a:{PATH}" in taken
    assert taken[-1] == "1 host: 1 refused"
    assert "live, nothing goes down; then the" in shown(Sight("a", (Outlook("live"), refused)))
    quiet = shown(Sight("a", (Outlook(), refused)))
    assert quiet.startswith("a: the bridge netfilter would be refused, the network stays as it is\n")
    before = shown(Sight("a", (refused, TAKEOVER)))
    assert before.startswith("a: the bridge would be refused, the network stays as it is\n  another stack")
    assert "takes over" not in before
    assert PATH not in before


def test_a_host_that_was_not_seen_is_named_with_the_reason() -> None:
    text = shown(
        Sight("a", error=NoAnswer("a: read", "no answer within 3 s", "look")),
        Sight("b", error=ConnectError("b: open", "[Errno 111] Connection refused", "look")),
        Sight("c", (Outlook(),)),
        Sight("d", error=HostKeyMismatch("d: pinned X", "the host shows Y", "compare")),
        Sight("e", error=AuthError("e: log in as root", "refused for K", "add the key")),
        Sight("f", error=ChangeUnderWay("f: change", "a change by stack s", "wait")),
        Sight("g", error=LabError("g: read the claims", "no JSON", "restore the file")),
    )
    assert text == (
        "a: did not answer: no answer within 3 s\n"
        "b: did not answer: Connection refused\n"
        "c: nothing to do\n"
        "\n"
        "d: not looked at, it shows another host key\n  d: pinned X\n  the host shows Y\n  to do: compare\n"
        "\n"
        "e: not looked at, no login\n  e: log in as root\n  refused for K\n  to do: add the key\n"
        "\n"
        "f: a change of its network is under way\n  f: change\n  a change by stack s\n  to do: wait\n"
        "\n"
        "g: could not be read\n  g: read the claims\n  no JSON\n  to do: restore the file\n"
        "\n"
        "7 hosts: 1 nothing to do, 1 being changed just now, 5 not seen"
    )


def test_all_but_the_lines_of_files_fits_eighty_columns() -> None:
    name = "h" * 63
    refused = Outlook(refusals=(Refusal("words " * 40, "more words " * 30),))
    unread = LabError("x " * 99, "y", "z")
    text = shown(Sight(name, (refused,)), Sight(name, error=unread), Sight(name, (TAKEOVER,)))
    assert max(len(line) for line in text.splitlines() if PATH not in line) <= 80


def test_secrets_are_not_shown() -> None:
    old = (
        "iface wlan0 inet dhcp\n    wpa-psk hunter2\n    wireless-key1 s:hunter2\n    wpa-password \\\n"
        "        hunter2\n    up iwconfig wlan0 key hunter2\n    # wpa-psk hunter2\n    metric 5\n"
    )
    text = "\n".join(unified("h", FileChange(PATH, old, old.replace("metric 5", "metric 6"))))
    assert "hunter2" not in text
    assert "+    metric 6" in text
    moved = "\n".join(unified("h", FileChange(PATH, old, old.replace("wlan0", "br0"))))
    assert "hunter2" not in moved
    assert "     wpa-psk ..." in moved
    assert "-    up iwconfig wlan0 key ...\n+    up iwconfig br0 key ..." in moved


def test_a_host_cannot_write_on_the_terminal() -> None:
    text = b"# \x1b[2Jgone\r\n# caf\xe9 \xc3\xa9 \xc2\x9b2J\n".decode("utf-8", "surrogateescape")
    seen = shown(Sight("h", (Outlook("live", (FileChange(PATH, "", text),), ("a\x07b",)),)))
    assert "+# \\x1b[2Jgone\\x0d\n+# caf\\xe9 é \\x9b2J\n" in seen
    assert "a\\x07b" in seen


def test_colours_are_for_terminals() -> None:
    plain, coloured = (shown(Sight("g1s1", (TAKEOVER,)), colour=colour) for colour in (False, True))
    assert "\x1b" not in plain
    assert "\x1b[31m-iface eth0 inet static\x1b[0m\n\x1b[32m+iface eth0 inet manual\x1b[0m" in coloured
    for code in ("0", "1", "31", "32", "36"):
        coloured = coloured.replace(f"\x1b[{code}m", "")
    assert coloured == plain
