from pathlib import Path

import pytest
import yaml

from bench.classroom import cpu_seconds, stack_file
from config import Lab

DOMSTATS = """\
Domain: 'bench-g1s1'
  vcpu.current=2
  vcpu.maximum=2
  vcpu.0.state=1
  vcpu.0.time=12000000000
  vcpu.0.wait=7
  vcpu.1.state=1
  vcpu.1.time=500000000
  vcpu.1.wait=7

Domain: 'loop1'
  vcpu.current=1
  vcpu.0.time=500000000
"""


def test_cpu_seconds_of_all_vcpus() -> None:
    assert cpu_seconds(DOMSTATS) == {"'bench-g1s1'": 12.5, "'loop1'": 0.5}
    assert cpu_seconds("\n") == {}


def test_a_domain_without_a_time_is_not_taken_for_one_at_rest() -> None:
    with pytest.raises(ValueError, match="no processor time"):
        cpu_seconds(f"{DOMSTATS}\nDomain: 'bench-g1s2'\n  cpu.haltpoll.success.time=0\n")


def test_stack_file_has_a_class_beside_the_spare_guest(tmp_path: Path) -> None:
    path = tmp_path / "Pulumi.bench.yaml"
    path.write_text(yaml.safe_dump(stack_file(Path(".lab/x"), first=121, count=2)))
    lab = Lab.from_stack_file(path, root=tmp_path, check_files=False)
    assert {guest.name: str(guest.address) for _, guest in lab.guests} == {
        "spare": "198.18.251.12/24",
        "g1s1": "198.18.251.121/24",
        "g1s2": "198.18.251.122/24",
    }
    assert [one.name for one in lab.environments] == ["g1s1", "g1s2"]
    assert not any(guest.protect for _, guest in lab.guests)


def test_stack_file_without_students_keeps_the_host(tmp_path: Path) -> None:
    path = tmp_path / "Pulumi.bench.yaml"
    path.write_text(yaml.safe_dump(stack_file(Path(".lab/x"), first=121, count=0)))
    lab = Lab.from_stack_file(path, root=tmp_path, check_files=False)
    assert [guest.name for _, guest in lab.guests] == ["spare"]
    assert lab.environments == ()
