"""What of a student's host a reset puts away, and what it leaves."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import replace

import pytest

from providers.state import student_plan
from providers.state.student import Asked, Domain, Facts, File, Kept, Names, Network, Pool, Seen

OURS = "kvm-lab-lab"
IMAGES = student_plan.IMAGES
SINCE = 1000
ASKED = Asked(user="ann", groups=(), sudo=True)


def facts(**found: tuple[str, ...]) -> Facts:
    return Facts(since=SINCE, generation=2, found=Names(**found), asked=ASKED)


def identity(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, name))


def domain(name: str, *sources: str, active: bool = False, nvram: str = "", like: str = "") -> Domain:
    disks = "".join(f"<disk><source {source}/><backingStore/></disk>" for source in sources)
    variables = f"<os><nvram>{nvram}</nvram></os>" if nvram else ""
    xml = f"<domain><uuid>{identity(like or name)}</uuid>{variables}<devices>{disks}</devices></domain>"
    return Domain(name=name, xml=xml, active=active, autostart=False)


def file_disk(path: str) -> str:
    return f"file='{path}'"


def pool(name: str, path: str, kind: str = "dir") -> Pool:
    xml = f"<pool type='{kind}'><uuid>{identity(name)}</uuid><target><path>{path}</path></target></pool>"
    return Pool(name=name, xml=xml, active=True, autostart=False)


def seen(*things: Domain | Pool | Network, files: Mapping[str, tuple[File, ...]] | None = None) -> Seen:
    pools = tuple(thing for thing in things if isinstance(thing, Pool))
    return Seen(
        domains=tuple(thing for thing in things if isinstance(thing, Domain)),
        pools=pools,
        networks=tuple(thing for thing in things if isinstance(thing, Network)),
        files=files or {},
        real_paths={pool.path: pool.path for pool in pools},
    )


OUR_POOL = pool(OURS, f"{IMAGES}/{OURS}")


def names_put_away(*things: Domain | Pool | Network, **found: tuple[str, ...]) -> set[str]:
    kept = student_plan.plan(seen(OUR_POOL, *things), facts(**found), OURS)
    return {name for _, name in kept.things()}


@pytest.mark.parametrize(
    "guest",
    [
        domain("lab-web", file_disk(f"{IMAGES}/{OURS}/web-g1.qcow2")),
        domain("other-web", file_disk(f"{IMAGES}/kvm-lab-other/web-g1.qcow2")),
        domain("by-name", f"pool='{OURS}' volume='web-g1.qcow2'"),
        domain("owners", file_disk("/srv/owner.qcow2")),
    ],
)
def test_guests_of_stacks_and_of_the_owner_stay(guest: Domain) -> None:
    assert names_put_away(guest, domains=("owners",)) == set()


def test_a_guest_that_is_only_named_like_one_of_ours_goes() -> None:
    base_below = "<domain><uuid>u</uuid><devices><disk><source file='/srv/a'/><backingStore>"
    base_below += f"<source file='{IMAGES}/kvm-lab-base/b'/></backingStore></disk></devices></domain>"
    overlay = Domain(name="overlay", xml=base_below, active=True, autostart=False)
    assert names_put_away(domain("lab-web"), overlay) == {"lab-web", "overlay"}


def test_pools_and_networks_of_the_student_go() -> None:
    default = Network(name="default", xml="<network/>", active=True, autostart=True)
    lab = Network(name="lab", xml="<network/>", active=True, autostart=True)
    things = (default, lab, pool("default", IMAGES), pool("owners", "/srv/o"), pool("kvm-lab-base", "/b"))
    assert names_put_away(*things, pools=("owners",), networks=("default",)) == {"lab", "default"}


def test_only_files_that_came_after_the_student_are_moved() -> None:
    born = {"before": SINCE, "after": SINCE + 1, "unknown": 0, "bad-\ufffd": SINCE + 1, "owners": SINCE + 1}
    files = {"/srv/his": tuple(File(name=name, born=when) for name, when in born.items())}
    guest = domain("owner", file_disk("/srv/his/owners"))
    kept = student_plan.plan(
        seen(pool("his", "/srv/his"), guest, files=files), facts(domains=("owner",)), OURS
    )
    assert kept.moves == {"/srv/his": ("after",)}
    left = student_plan.left_in_place(kept, seen(pool("his", "/srv/his"), files=files))
    assert left == sorted(f"/srv/his/{name}" for name in born if name != "after")


def test_no_file_is_moved_from_a_folder_that_another_pool_has() -> None:
    files = {folder: (File("a", SINCE + 1),) for folder in ("/srv/o", f"{IMAGES}/{OURS}/sub", "/lv")}
    his = (pool("his", "/srv/o"), pool("deep", f"{IMAGES}/{OURS}/sub"), pool("lv", "/lv", "logical"))
    there = seen(OUR_POOL, pool("owners", "/srv/o"), *his, files=files)
    kept = student_plan.plan(there, facts(pools=("owners",)), OURS)
    assert {name for _, name in kept.things()} == {"his", "deep", "lv"}
    assert kept.moves == {}


def test_where_a_pools_folder_leads_decides() -> None:
    files = {"/srv/link": (File("passwd", SINCE + 1),)}
    there = seen(pool("his", "/srv/link"), files=files)
    assert student_plan.plan(there, facts(), OURS).moves == {"/srv/link": ("passwd",)}
    leads_to_etc = replace(there, real_paths={"/srv/link": "/etc"})
    assert student_plan.plan(leads_to_etc, facts(), OURS).moves == {}
    absent = replace(there, real_paths={})
    assert student_plan.plan(absent, facts(), OURS).moves == {}


@pytest.mark.parametrize(
    ("folder", "may"),
    [
        (IMAGES, True),
        (f"{IMAGES}/his", True),
        (f"{IMAGES}/kvm-lab-lab", False),
        (f"{IMAGES}/kvm-lab-base/x", False),
        ("/", False),
        ("/etc", False),
        ("/etc/libvirt/qemu", False),
        ("/usr/local/vms", False),
        ("/var/lib", False),
        ("/var/lib/libvirt", False),
        ("/home", False),
        ("/home/ann", False),
        ("/home/ann/vms", True),
        ("/home/ann/.ssh", False),
        ("/root", False),
        ("/root/vms", True),
        ("/tmp", False),
        ("/srv", True),
        ("/vms", True),
    ],
)
def test_files_of_the_system_are_no_students(folder: str, may: bool) -> None:
    assert student_plan.may_move_from(folder) is may


def test_the_firmwares_variables_go_with_a_guest() -> None:
    variables = f"{student_plan.NVRAM}/his_VARS.fd"
    kept = student_plan.plan(seen(domain("his", nvram=variables)), facts(), OURS)
    assert kept.moves == {student_plan.NVRAM: ("his_VARS.fd",)}
    elsewhere = student_plan.plan(seen(domain("his", nvram="/etc/VARS.fd")), facts(), OURS)
    assert elsewhere.moves == {}


def test_an_interrupted_work_is_continued_with_what_came_since() -> None:
    ran, stopped, new = domain("a", active=True), domain("a"), domain("b")
    earlier = Kept(generation=2, domains=(ran,), moves={"/srv": ("x",)})
    now = Kept(generation=2, domains=(stopped, new), moves={"/srv": ("x", "y"), "/vms": ("z",)})
    assert student_plan.collisions(earlier, now) == []
    merged = student_plan.merged(earlier, now)
    assert merged.domains == (ran, new)
    assert merged.moves == {"/srv": ("x", "y"), "/vms": ("z",)}


def test_another_thing_of_the_same_name_is_a_collision() -> None:
    kept = Kept(generation=2, domains=(domain("a"),), pools=(pool("p", "/one"),))
    there = Kept(generation=0, domains=(domain("a", like="other"),), pools=(pool("p", "/two"),))
    first, second = sorted(student_plan.collisions(kept, there))
    assert identity("a") in first
    assert identity("other") in first
    assert second.startswith("storage pool p")


def test_what_stays_is_all_that_is_not_the_students() -> None:
    there = seen(OUR_POOL, pool("his", "/srv"), domain("owner"), domain("his"))
    stays = student_plan.staying(there, Names(domains=("owner",)), OURS)
    assert {name for _, name in stays.things()} == {OURS, "owner"}


def test_a_kept_folder_is_of_one_generation_of_one_environment() -> None:
    assert student_plan.kept_folder("/srv", 2, SINCE) == "/srv/.kvm-lab-kept/g2-1000"
