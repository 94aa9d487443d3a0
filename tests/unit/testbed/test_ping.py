import pytest

from testbed.ping import Gap, Ping


def test_gaps_reach_from_the_first_lost_request_to_the_next_answer() -> None:
    ping = Ping("x", [0.0, 1.0, 2.0, 3.0, 4.0, 5.0], {0: 0.1, 3: 3.2, 4: 4.1})
    assert ping.lost == 3
    assert ping.gaps == [Gap(1.0, 3.2), Gap(5.0, 5.0)]
    assert ping.gaps[0].seconds == pytest.approx(2.2)


def test_a_part_counts_only_what_was_sent_in_it() -> None:
    ping = Ping("x", [0.0, 1.0, 2.0, 3.0], {0: 0.1, 3: 3.1})
    assert ping.between(0.0, 2.0) == Ping("x", [0.0, 1.0], {0: 0.1})
    assert ping.between(2.0, 9.0).gaps == [Gap(2.0, 3.1)]


def test_an_address_that_answers_and_one_that_does_not() -> None:
    with Ping("127.0.0.1").running() as here, Ping("127.0.0.2").running():
        pass
    assert here.sent
    assert here.lost == 0
    with Ping("240.0.0.1").running() as nowhere:
        pass
    assert nowhere.lost == len(nowhere.sent)


def test_a_sender_that_ends_early_says_why_unless_the_block_failed_itself() -> None:
    sender = Ping("no address")
    with (
        pytest.raises(OSError, match=r"ping no address: the sender ended with 1: [\s\S]*gaierror"),
        sender.running(),
    ):
        pass
    with pytest.raises(ValueError, match="of the block"), sender.running():
        raise ValueError("of the block")
