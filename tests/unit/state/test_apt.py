"""What dpkg and apt print, and which packages may go."""

from __future__ import annotations

import pytest

from providers.state import apt
from providers.state.apt import Package, Removal, plan_removal

STATUS = (
    "tree\tamd64\t2.1.0-1\tii \t\t\tlibc6 (>= 2.34)\n"
    "qemu-system-x86\tamd64\t1:7.2\tii \tqemu-kvm, qemu-system-x86-64 (= 1:7.2)\t"
    "init-system-helpers (>= 1.54~)\tlibaio1 (>= 0.3), seabios (>= 1.0) | ovmf [amd64], python3:any\n"
    "libc6\ti386\t2.36\tii \t\t\t\n"
    "libc6\tamd64\t2.36\tii \t\t\t\n"
    "old\tall\t1\trc \t\t\tx\n"
    "never\tall\t\tun \t\t\t\n"
    "held\tall\t1\thi \t\t\t\n"
    "broken\tall\t1\tiF \t\t\t\n"
    "cut\tall\t1\tiHR\t\t\t\n"
)


def package(name: str, *depends: str, provides: str = "") -> Package:
    groups = apt.parse_relations(", ".join(depends))
    return Package(name, "1", "i", tuple(provides.split()), groups)


def host(*packages: Package) -> dict[str, Package]:
    return {entry.name: entry for entry in packages}


class TestStatus:
    def test_what_is_there(self) -> None:
        packages = apt.parse_status(STATUS, "amd64")
        assert set(packages) == {
            "tree",
            "qemu-system-x86",
            "libc6",
            "libc6:i386",
            "held",
            "broken",
            "cut",
        }
        assert packages["tree"].version == "2.1.0-1"
        assert packages["held"].installed
        assert not packages["broken"].installed
        assert packages["broken"].trouble == "half-configured"
        assert packages["cut"].trouble == "half-installed"
        assert packages["tree"].trouble is None

    def test_relations(self) -> None:
        qemu = apt.parse_status(STATUS, "amd64")["qemu-system-x86"]
        assert qemu.provides == ("qemu-kvm", "qemu-system-x86-64")
        assert qemu.depends == (("init-system-helpers",), ("libaio1",), ("seabios", "ovmf"), ("python3",))

    def test_other_text_is_refused(self) -> None:
        with pytest.raises(ValueError, match="not a line of dpkg-query's"):
            apt.parse_status("dpkg-query: error\n", "amd64")


def test_simulation() -> None:
    text = (
        "NOTE: This is only a simulation!\n"
        "The following NEW packages will be installed:\n  tree\n"
        "Remv ntp [1:4.2 amd64]\n"
        "Inst libc6 [2.36-9] (2.36-9+deb12u1 Debian:12.1/stable [amd64])\n"
        "Inst tree (2.1.0-1 Debian:12.1/stable [amd64])\n"
        "Inst zlib1g:i386 (1 Debian [i386])\n"
        "Inst libx:amd64 (1 Debian [amd64])\n"
        "Conf tree (2.1.0-1 Debian:12.1/stable [amd64])\n"
        "Purg chrony [4]\n"
    )
    planned = apt.parse_simulation(text, "amd64")
    assert planned.new == ("tree", "zlib1g:i386", "libx")
    assert planned.changed == ("libc6",)
    assert planned.removed == ("ntp", "chrony")


class TestNearNames:
    def test_nearest_first(self) -> None:
        known = {"bridge-utils", "id-utils", "qemu-utils", "vim", "libvirt-clients"}
        assert apt.near_names("bridge-utlis", known)[0] == "bridge-utils"
        assert apt.near_names("libvirt-client", known) == ["libvirt-clients"]

    def test_nothing_is_near(self) -> None:
        assert apt.near_names("xyzzy", {"bridge-utils", "vim"}) == []


class TestRemoval:
    def plan(
        self,
        packages: dict[str, Package],
        brought: str,
        *,
        claimed: str = "",
        manual: str = "",
    ) -> Removal:
        return plan_removal(
            packages,
            brought=brought.split(),
            claimed=claimed.split(),
            manual=set(manual.split()),
        )

    def test_all_we_brought_and_nothing_else(self) -> None:
        packages = host(package("libc6"), package("qemu", "libaio1", "libc6"), package("libaio1", "libc6"))
        plan = self.plan(packages, "qemu libaio1")
        assert plan == Removal(("libaio1", "qemu"), {})

    def test_what_another_stack_claims_stays_with_all_it_needs(self) -> None:
        packages = host(
            package("qemu", "libaio1"), package("libaio1", "libz"), package("libz"), package("tree")
        )
        plan = self.plan(packages, "qemu libaio1 libz tree", claimed="qemu")
        assert plan.remove == ("tree",)
        assert set(plan.kept) == {"qemu", "libaio1", "libz"}

    def test_what_the_admin_s_own_package_needs_stays(self) -> None:
        packages = host(package("qemu", "libaio1"), package("libaio1"), package("fio", "libaio1"))
        plan = self.plan(packages, "qemu libaio1", manual="fio")
        assert plan.remove == ("qemu",)
        assert plan.kept == {"libaio1": "fio depends on it"}

    def test_what_somebody_marked_manual_stays(self) -> None:
        packages = host(package("qemu", "libaio1"), package("libaio1"))
        plan = self.plan(packages, "qemu libaio1", manual="libaio1")
        assert plan.remove == ("qemu",)
        assert "manual" in plan.kept["libaio1"]

    def test_need_for_what_a_package_provides(self) -> None:
        packages = host(package("exim", provides="mail-agent"), package("cron", "mail-agent"))
        assert self.plan(packages, "exim").kept == {"exim": "cron depends on it"}

    def test_alternative_that_stays_satisfies(self) -> None:
        packages = host(package("seabios"), package("ovmf"), package("vm", "seabios | ovmf"))
        assert self.plan(packages, "seabios").remove == ("seabios",)

    def test_when_all_alternatives_would_go_they_stay(self) -> None:
        packages = host(package("seabios"), package("ovmf"), package("vm", "seabios | ovmf"))
        assert self.plan(packages, "seabios ovmf").remove == ()

    def test_dependency_that_was_never_satisfied_keeps_nothing(self) -> None:
        packages = host(package("odd", "absent"), package("tree"))
        assert self.plan(packages, "tree").remove == ("tree",)

    def test_what_was_removed_by_hand_is_no_matter(self) -> None:
        assert self.plan(host(package("libc6")), "tree").remove == ()

    def test_circle_of_dependencies_goes_together(self) -> None:
        packages = host(package("a", "b"), package("b", "a"), package("libc6"))
        assert self.plan(packages, "a b").remove == ("a", "b")

    def test_need_of_a_foreign_architecture_counts_for_the_name(self) -> None:
        packages = {**host(package("libaio1")), "wine:i386": package("wine:i386", "libaio1")}
        assert set(self.plan(packages, "libaio1").kept) == {"libaio1"}


def test_the_file_that_keeps_packages_from_autoremove() -> None:
    text = apt.keep_file(["libstdc++6", "bridge-utils", "python3.11"])
    assert text.splitlines()[1:] == [
        "APT::NeverAutoRemove {",
        '  "^bridge-utils$";',
        '  "^libstdc\\+\\+6$";',
        '  "^python3\\.11$";',
        "};",
    ]
