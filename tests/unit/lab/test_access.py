"""What `make access` writes: sheets that say what is needed, and a configuration that ssh(1) reads so."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lab.access import MARK, Access, Handout, files, fingerprint, known_hosts, sheet, summary
from lab.report import Login

LONG = "a" * 32
TELLING = {"hostname", "port", "user", "hostkeyalias", "stricthostkeychecking", "globalknownhostsfile"}


def new_key() -> str:
    public = Ed25519PrivateKey.generate().public_key()
    return public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


KEYS = {name: new_key() for name in ("g1s2", "g1s3-web", "db", "g1", "g1s2 (host)")}


def guest(name: str, address: str, user: str = "student", identity_file: str | None = None) -> Login:
    return Login(name, address, 22, user, identity_file, (KEYS[name],) if name in KEYS else ())


ONE = Handout("g1s2", 1, 2, "g1", (guest("g1s2", "198.51.100.112"),))
TWO = Handout("g1s3", 1, 3, "g1", (guest("g1s3-web", "2001:db8::5:113", LONG), guest("g1s3-db", "192.0.2.3")))
NONE = Handout("g1s4", 1, 4, "g1s2", (guest("g1s4", "198.51.100.114"),))


def access(folder: Path = Path("/srv/access/lab")) -> Access:
    return Access(
        "lab",
        folder,
        (ONE, TWO, NONE),
        (("g1", guest("db", "198.51.100.22", identity_file=f"{folder}/id_ed25519")),),
        (
            Login("g1", "198.51.100.11", 2222, "root", f"{folder}/id_ed25519", (KEYS["g1"],)),
            Login("g1s2", "g1s2.lab.example", 22, "admin", None, (KEYS["g1s2 (host)"],)),
        ),
    )


def tables(markdown: str) -> list[list[dict[str, str]]]:
    """Return the rows of each table, by their headings."""
    found = []
    for block in re.findall(r"(?:^\|.*\|\n)+", markdown, re.MULTILINE):
        heads, rule, *rows = [
            [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            for line in block.splitlines()
        ]
        assert all(set(cell) == {"-"} for cell in rule)
        found.append([dict(zip(heads, row, strict=True)) for row in rows])
    return found


def blocks(markdown: str) -> list[list[str]]:
    return [
        block.splitlines() for block in re.findall(r"^```\n(.*?)^```", markdown, re.DOTALL | re.MULTILINE)
    ]


def written(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name, text in files(access(folder)).items():
        (folder / name).write_text(text)
    return folder


def resolved(config: Path, name: str) -> dict[str, list[str]]:
    """Return what ssh makes of a name, by the option; nothing is connected to."""
    done = subprocess.run(
        ["ssh", "-G", "-F", str(config), name],
        capture_output=True,
        text=True,
        check=True,
        stdin=subprocess.DEVNULL,
    )
    options: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        option, _, value = line.partition(" ")
        options.setdefault(option, []).append(value)
    return options


def test_a_sheet_names_host_guest_command_and_keys() -> None:
    text = sheet("lab", ONE)
    assert text.splitlines()[:3] == [f"<!-- {MARK} -->", "", "# g1s2"]
    assert "Group 1, student 2. Your guest runs on the host `g1`." in text
    ((row,),) = tables(text)
    assert row == {
        "machine": "`g1s2`",
        "address": "`198.51.100.112`",
        "user": "`student`",
        "host key": f"`{fingerprint(KEYS['g1s2'])}`",
    }
    assert blocks(text) == [
        [f"198.51.100.112 {KEYS['g1s2']}"],
        ["ssh -o StrictHostKeyChecking=yes student@198.51.100.112"],
    ]
    assert re.findall(r"^(\d)\. ", text, re.MULTILINE) == ["1", "2", "3", "4"]


def test_a_sheet_of_several_guests_tells_which_is_not_there_yet() -> None:
    text = sheet("lab", TWO)
    assert "Your guests run on" in text
    (rows,) = tables(text)
    assert [(row["machine"], row["host key"]) for row in rows] == [
        ("`g1s3-web`", f"`{fingerprint(KEYS['g1s3-web'])}`"),
        ("`g1s3-db`", "*not there yet*"),
    ]
    assert blocks(text) == [
        [f"2001:db8::5:113 {KEYS['g1s3-web']}"],
        [f"ssh -o StrictHostKeyChecking=yes {LONG}@2001:db8::5:113"],
    ]


def test_a_sheet_of_what_is_not_made_yet_has_nothing_to_type() -> None:
    text = sheet("lab", NONE)
    assert "*Not there yet*" in text
    assert blocks(text) == []
    assert "ssh" not in text
    assert access().missing == ("g1s3-db", "g1s4")


def test_a_sheet_of_an_own_host_names_the_host_with_all_its_keys() -> None:
    keys = (new_key(), new_key())
    own = Login("g2s1", "198.51.100.121", 2222, "student", None, keys)
    inside = Login("g2s1-1", "198.51.100.122", 22, "student", None, (new_key(),))
    handout = Handout("g2s1", 2, 1, "g2s1", (inside,), own)
    text = sheet("lab", handout)
    assert "The host `g2s1` is yours" in text
    assert [row["machine"] for row in tables(text)[0]] == ["`g2s1`", "`g2s1-1`"]
    assert blocks(text) == [
        [
            f"[198.51.100.121]:2222 {keys[0]}",
            f"[198.51.100.121]:2222 {keys[1]}",
            f"198.51.100.122 {inside.host_keys[0]}",
        ],
        [
            "ssh -p 2222 -o StrictHostKeyChecking=yes student@198.51.100.121",
            "ssh -o StrictHostKeyChecking=yes student@198.51.100.122",
        ],
    ]
    assert "ssh-keygen -R '[198.51.100.121]:2222'" in text
    teachers = Login("g2s1", "198.51.100.121", 2222, "root", None, keys)
    rows, hosts = tables(summary(Access("lab", Path("/srv"), (handout,), (), (teachers,))))
    assert [(row["machine"], row["user"], row["ssh"]) for row in rows] == [
        ("g2s1", "root", "`ssh g2s1`"),
        ("g2s1-1", "student", "`ssh g2s1-1`"),
    ]
    assert len(hosts) == 1


def test_lines_of_a_sheet_are_what_ssh_keygen_makes_of_the_key(tmp_path: Path) -> None:
    (tmp_path / "known_hosts").write_text("\n".join(blocks(sheet("lab", TWO))[0]) + "\n")
    argv = ["ssh-keygen", "-l", "-F", "2001:db8::5:113", "-f", str(tmp_path / "known_hosts")]
    shown = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert fingerprint(KEYS["g1s3-web"]) in shown


def test_fingerprints_of_every_type_are_those_of_ssh_keygen(tmp_path: Path) -> None:
    for kind in ("ed25519", "ecdsa", "rsa"):
        key = tmp_path / kind
        subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(key)], check=True)
        argv = ["ssh-keygen", "-l", "-f", f"{key}.pub"]
        _, digest, *_, shown = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()
        public = " ".join(key.with_suffix(".pub").read_text().split()[:2])
        assert fingerprint(public) == f"{shown.strip('()')} {digest}"


def test_the_summary_has_every_student_guest_and_host() -> None:
    students, others, hosts = tables(summary(access()))
    assert [tuple(row.values()) for row in students] == [
        ("1", "2", "[g1s2](g1s2.md)", "g1", "g1s2", "198.51.100.112", "student", "`ssh g1s2`"),
        ("1", "3", "[g1s3](g1s3.md)", "g1", "g1s3-web", "2001:db8::5:113", LONG, "`ssh g1s3-web`"),
        ("1", "3", "[g1s3](g1s3.md)", "g1", "g1s3-db", "192.0.2.3", "student", "not there yet"),
        ("1", "4", "[g1s4](g1s4.md)", "g1s2", "g1s4", "198.51.100.114", "student", "not there yet"),
    ]
    assert [tuple(row.values()) for row in others] == [("g1", "db", "198.51.100.22", "student", "`ssh db`")]
    assert [tuple(row.values()) for row in hosts] == [
        ("g1", "198.51.100.11 port 2222", "root", "`ssh g1`"),
        ("g1s2", "g1s2.lab.example", "admin", "`ssh host-g1s2`"),
    ]


def test_the_summary_names_the_commands_of_an_environment() -> None:
    commands = blocks(summary(access()))[-1]
    for command in ("apply", "reset", "undo-reset"):
        assert any(line.startswith(f"make {command} STUDENT=g1s2 STACK=lab ") for line in commands)
    assert any(line.startswith("make show STACK=lab ") for line in commands)


def test_the_summary_of_a_stack_without_students_has_no_table_of_them() -> None:
    bare = Access("lab", Path("/srv"), (), (), access().hosts)
    (hosts,) = tables(summary(bare))
    assert [row["host"] for row in hosts] == ["g1", "g1s2"]
    assert "STUDENT=" not in summary(bare)
    assert set(files(bare)) == {"README.md", "ssh_config", "known_hosts"}


def test_a_bar_in_a_name_breaks_no_table() -> None:
    odd = Handout("g|1", 1, 2, "h", (guest("a|b", "192.0.2.1"),))
    ((row,),) = tables(sheet("lab", odd))
    assert row["machine"] == "`a|b`"


def test_ssh_reads_each_machine_as_it_is_meant(tmp_path: Path) -> None:
    folder = written(tmp_path / "my labs 100%" / "lab")
    strict = {"stricthostkeychecking": ["true"], "globalknownhostsfile": ["/dev/null"]}
    for name, address, port, user in (
        ("g1s2", "198.51.100.112", "22", "student"),
        ("g1s3-web", "2001:db8::5:113", "22", LONG),
        ("g1s4", "198.51.100.114", "22", "student"),
        ("db", "198.51.100.22", "22", "student"),
        ("g1", "198.51.100.11", "2222", "root"),
        ("host-g1s2", "g1s2.lab.example", "22", "admin"),
    ):
        options = resolved(folder / "ssh_config", name)
        assert {option: options[option] for option in TELLING} == {
            "hostname": [address],
            "port": [port],
            "user": [user],
            "hostkeyalias": [name],
            **strict,
        }
        assert options["userknownhostsfile"] == [f"{folder}/known_hosts"]


def test_a_key_file_is_named_only_where_the_machine_knows_it(tmp_path: Path) -> None:
    folder = written(tmp_path / "lab")
    for name in ("db", "g1"):
        options = resolved(folder / "ssh_config", name)
        assert options["identityfile"] == [f"{folder}/id_ed25519"]
        assert options["identitiesonly"] == ["yes"]
    for name in ("g1s2", "host-g1s2"):
        options = resolved(folder / "ssh_config", name)
        assert f"{folder}/id_ed25519" not in options["identityfile"]
        assert options["identitiesonly"] == ["no"]


def test_a_line_includes_the_configuration_and_leaves_other_hosts_alone(tmp_path: Path) -> None:
    folder = written(tmp_path / "my labs" / "lab")
    ((include,),) = [block for block in blocks(summary(access(folder))) if block[0].startswith("Include")]
    mine = tmp_path / "config"
    mine.write_text(f"{include}\nHost *\n    User me\n    Port 2200\n    StrictHostKeyChecking no\n")
    options = resolved(mine, "g1s2")
    assert (options["user"], options["port"], options["stricthostkeychecking"]) == (
        ["student"],
        ["22"],
        ["true"],
    )
    other = resolved(mine, "elsewhere.example")
    assert (other["user"], other["stricthostkeychecking"]) == (["me"], ["false"])
    assert "known_hosts" not in " ".join(other.get("hostkeyalias", []))
    assert str(folder) not in " ".join(other["userknownhostsfile"])


def test_known_hosts_has_these_keys_by_name_and_by_address_and_no_others(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(known_hosts(access()))
    for name, key in (
        ("g1s2", KEYS["g1s2"]),
        ("198.51.100.112", KEYS["g1s2"]),
        ("2001:db8::5:113", KEYS["g1s3-web"]),
        ("[198.51.100.11]:2222", KEYS["g1"]),
        ("host-g1s2", KEYS["g1s2 (host)"]),
    ):
        argv = ["ssh-keygen", "-F", name, "-f", str(file)]
        shown = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        assert [line for line in shown.splitlines() if line.endswith(key)], (name, shown)
    lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
    assert len(lines) == len(KEYS)


def test_every_file_begins_with_the_mark() -> None:
    for name, text in files(access()).items():
        assert MARK in text.splitlines()[0], name
