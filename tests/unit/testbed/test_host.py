from ipaddress import IPv4Network
from pathlib import Path

import pytest

from providers.errors import LabError
from testbed import host


@pytest.fixture(autouse=True)
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A journal and forwarding settings of the test's own."""
    settings = tmp_path / "ipv4"
    for name, value in {
        "ip_forward": "0",
        "conf/all/accept_redirects": "1",
        "conf/eth0/forwarding": "0",
    }.items():
        path = settings / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(value + "\n")
    (settings / "conf/default").mkdir()
    (settings / "conf/default/accept_redirects").write_text("0\n")
    monkeypatch.setattr(host, "_FORWARD", settings / "ip_forward")
    monkeypatch.setattr(host, "_CONF", settings / "conf")
    monkeypatch.setattr(host, "RUN", tmp_path / "run")
    return tmp_path / "run"


def owner(directory: str, subnet: str) -> host.Owner:
    return host.Owner(directory=Path(directory), range=IPv4Network(subnet), route=True)


def test_the_last_release_leaves_no_trace(run: Path) -> None:
    host.claim("labbr", owner("/a", "198.18.1.0/24"))
    host.claim("other", owner("/b", "198.18.2.0/24"))
    assert set(host.owned_by(Path("/a"))) == {"labbr"}
    host.release("labbr")
    assert set(host.peek().owners) == {"other"}
    host.release("other")
    assert not run.exists()


def test_a_second_claim_of_the_same_testbed_keeps_the_first(run: Path) -> None:
    first = owner("/a", "198.18.1.0/24")
    host.claim("labbr", first)
    # The route is there by now, and would not be taken for its own.
    host.claim("labbr", first.model_copy(update={"route": False}))
    assert host.peek().owners == {"labbr": first}
    assert run.exists()


@pytest.mark.parametrize(
    ("bridge", "directory", "subnet"),
    [
        ("labbr", "/b", "198.18.2.0/24"),
        ("other", "/b", "198.18.1.128/25"),
        ("other", "/a", "198.18.1.0/24"),
        ("labbr", "/a", "198.18.2.0/24"),
    ],
)
def test_a_clash_names_the_other_testbed(bridge: str, directory: str, subnet: str) -> None:
    host.claim("labbr", owner("/a", "198.18.1.0/24"))
    with pytest.raises(LabError) as caught:
        host.claim(bridge, owner(directory, subnet))
    assert "labbr" in caught.value.seen
    assert "testbed down" in caught.value.remedy
    assert set(host.peek().owners) == {"labbr"}


def test_forwarding_comes_back_as_it_was_with_the_last_testbed(tmp_path: Path) -> None:
    forward = tmp_path / "ipv4/ip_forward"
    card = tmp_path / "ipv4/conf/eth0/forwarding"
    host.claim("labbr", owner("/a", "198.18.1.0/24"))
    host.claim("other", owner("/b", "198.18.2.0/24"))
    host.forward()
    assert forward.read_text() == "1"
    card.write_text("1\n")  # as the kernel does
    host.forward()

    host.release("labbr")
    assert forward.read_text() == "1"

    host.release("other")
    assert forward.read_text() == "0"
    assert card.read_text() == "0"


def test_forwarding_that_was_on_is_left_alone(tmp_path: Path) -> None:
    forward = tmp_path / "ipv4/ip_forward"
    forward.write_text("1\n")
    host.claim("labbr", owner("/a", "198.18.1.0/24"))
    host.forward()
    host.release("labbr")
    assert forward.read_text() == "1\n"
