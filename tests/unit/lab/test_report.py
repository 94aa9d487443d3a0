from lab.report import HostRow, Login, logins, table


def test_each_further_port_and_guest_has_a_line_of_its_own() -> None:
    rows = [
        HostRow("g1s1", "kvm", "br0", ("eth0", "vnet0", "vnet1"), ("web 198.51.100.21", "db 198.51.100.22")),
        HostRow("g1s2", "qemu", "br0", ("eth0",), ()),
    ]
    assert table(rows) == (
        "host  type  bridge  ports  guests\n"
        "g1s1  kvm   br0     eth0   web 198.51.100.21\n"
        "                    vnet0  db 198.51.100.22\n"
        "                    vnet1\n"
        "g1s2  qemu  br0     eth0"
    )


def test_the_table_of_long_names_fits_eighty_columns() -> None:
    row = HostRow("hypervisor-g12s34", "qemu", "br-students-12", ("enp0s31f6.4094",), ("web 198.51.100.121",))
    assert max(len(line) for line in table([row]).splitlines()) <= 80


def test_the_command_pins_the_key_file_and_names_a_port_only_when_it_must() -> None:
    key = "ssh-ed25519 AAAA"
    plain = Login("g1s1", "198.51.100.11", 22, "root", ".lab/key", (key,))
    moved = Login("g1s2", "198.51.100.12", 2222, "teacher", None, (key,), "guest")
    assert plain.known_hosts() == "198.51.100.11 ssh-ed25519 AAAA\n"
    assert moved.known_hosts() == "[198.51.100.12]:2222 ssh-ed25519 AAAA\n"
    strict = "-o StrictHostKeyChecking=yes -o UserKnownHostsFile=hosts"
    assert logins([plain, moved], "hosts") == (
        f"# host g1s1\nssh -i .lab/key -o IdentitiesOnly=yes {strict} root@198.51.100.11\n"
        f"# guest g1s2\nssh -p 2222 {strict} teacher@198.51.100.12"
    )
