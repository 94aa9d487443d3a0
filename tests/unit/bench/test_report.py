import pytest

from bench.report import Bound, Outage, Row, beside_plain, lines_of, table, verdict
from testbed.ping import Ping


def outages(*lost: int) -> list[Outage]:
    return [Outage(count, count / 100, count / 50) for count in lost]


def test_outage_of_a_ping() -> None:
    ping = Ping("x", [0.0, 1.0, 2.0, 3.0, 4.0, 5.0], {0: 0.1, 3: 3.5, 5: 5.0})
    outage = Outage.of(ping)
    assert (outage.lost, outage.longest, outage.total) == (3, 2.5, 3.5)
    assert Outage.of(Ping("x", [0.0], {0: 0.1})) == Outage(0, 0.0, 0.0)


def test_table_fits_a_terminal_and_shows_median_and_range() -> None:
    text = table([Row("a change", outages(100, 3, 5), outages(1000, 1000, 1000))])
    assert text == (
        "change            by    packets lost     longest gap, s      all gaps, s\n"
        "a change          us    5 (3-100)        0.05 (0.03-1.00)    0.10 (0.06-2.00)\n"
        "                  hand  1000             10.00               20.00"
    )
    assert max(map(len, text.splitlines())) <= 80


def test_what_nobody_makes_by_hand_has_one_line() -> None:
    assert table([Row("netfilter", outages(0))]).splitlines()[1:] == [
        "netfilter         us    0                0.00                0.00"
    ]


@pytest.mark.parametrize(
    ("ours", "by_hand", "holds"),
    [
        (outages(12), outages(10), True),
        (outages(13), outages(10), False),
        (outages(10, 99, 11), outages(10, 10, 10), True),  # the median counts
        (outages(0), outages(0), True),
        (outages(1), outages(0), False),
        ([Outage(5, 0.5, 0.5)], [Outage(10, 0.1, 1.0)], False),  # fewer packets, but a longer gap
    ],
)
def test_bound_of_a_takeover(ours: list[Outage], by_hand: list[Outage], holds: bool) -> None:
    (bound,) = verdict(Row("takeover", ours, by_hand), [])
    assert bound.holds is holds


def test_bound_of_a_live_change_is_its_worst_round() -> None:
    takeover = Row("takeover", outages(1), outages(1))
    live = [Row("good", outages(0, 3, 0), outages(9)), Row("bad", outages(0, 0, 4), outages(9))]
    assert [bound.holds for bound in verdict(takeover, live)] == [True, True, False]


def test_lines_name_what_is_broken() -> None:
    lines = lines_of([Bound("a", holds=True), Bound("b", holds=False)], "c")
    assert lines == "holds   a\nBROKEN  b\nnoted   c"


def test_verdict_tells_both_ways_by_hand_within_a_terminal() -> None:
    ours = outages(30, 32, 31)
    bounds = verdict(Row("takeover", ours, outages(40, 40, 40)), [])
    lines = lines_of(bounds, beside_plain(Row("takeover, plain", ours, outages(20, 20, 20))))
    assert "packets 0.78" in lines
    assert "packets 1.55" in lines
    assert "BROKEN" not in lines
    assert max(map(len, lines.splitlines())) <= 80
