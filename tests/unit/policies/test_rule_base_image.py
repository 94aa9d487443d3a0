from __future__ import annotations

from collections.abc import Mapping

import pytest

from policies.rules import base_image
from policies.rules.verdict import DEFAULTS, UNKNOWN, Finding, Options, Resource, Unjudged, Violation

SHA256, SHA512 = "ab" * 32, "AB" * 64


def judge_image(inputs: Mapping[str, object], options: Options = DEFAULTS) -> list[Finding]:
    return base_image.judge(Resource(base_image.IMAGE, "debian-12", inputs), options)


def judge_volume(**inputs: object) -> list[Finding]:
    return base_image.judge(Resource(base_image.VOLUME, "debian-12", inputs))


def test_a_checksum_passes() -> None:
    assert judge_image({"sha256": SHA256}) == []
    assert judge_image({"sha512": SHA512}) == []
    assert judge_image({"sha256": UNKNOWN, "sha512": SHA512}) == []


@pytest.mark.parametrize(
    ("inputs", "seen"),
    [
        ({}, "not set"),
        ({"sha256": None}, "not set"),
        ({"sha256": ""}, "not set"),
        ({"sha256": SHA256[1:]}, "no checksum"),
        ({"sha256": "x" * 64}, "no checksum"),
        ({"md5": "ab" * 16}, "not set"),
    ],
)
def test_an_image_without_a_checksum_is_refused(inputs: dict[str, object], seen: str) -> None:
    wanted = "the image's checksum, hexadecimal digits"
    assert judge_image(inputs) == [Violation("debian-12", "sha256 or sha512", seen, wanted, base_image.WHY)]


def test_an_unknown_checksum_waits() -> None:
    [finding] = judge_image({"sha256": UNKNOWN})
    assert isinstance(finding, Unjudged)


def test_only_the_checksums_configured_are_believed() -> None:
    only: Options = {"algorithms": ["sha512"]}
    assert judge_image({"sha512": SHA512}, only) == []
    [finding] = judge_image({"sha256": SHA256}, only)
    assert isinstance(finding, Violation)
    assert finding.option == "sha512"


@pytest.mark.parametrize(
    "source", [None, "", "/srv/debian-12.qcow2", "debian-12.qcow2", "file:///srv/d.qcow2"]
)
def test_a_volume_of_this_machine_passes(source: object) -> None:
    assert judge_volume(source=source) == []


def test_a_volume_on_a_base_passes() -> None:
    assert judge_volume(baseVolumeId="/var/lib/libvirt/images/base.qcow2") == []


@pytest.mark.parametrize("scheme", ["http", "https", "HTTPS", "ftp"])
def test_a_downloaded_volume_is_refused_without_showing_its_url(scheme: str) -> None:
    [finding] = judge_volume(source=f"{scheme}://user:hunter2@mirror.example/d.qcow2?sig=hunter2")
    assert isinstance(finding, Violation)
    assert finding.seen == f"a {scheme.lower()} URL without a checksum"
    assert "hunter2" not in str(finding)


def test_an_unknown_source_waits() -> None:
    [finding] = judge_volume(source=UNKNOWN)
    assert isinstance(finding, Unjudged)
    assert finding.option == "source"


def test_leaves_other_resources_alone() -> None:
    assert base_image.judge(Resource("aws:ec2:Instance", "x", {"source": "http://x"})) == []
