import pytest

from bench.answers import Timing
from bench.report import lines_of
from bench.student_report import Class, Round, Steps, as_json, table, verdict


def ours(create: float, resets: list[float], boots: list[float]) -> Steps:
    return Steps(
        Timing(create, create / 2, 0.0),
        [Timing(reset, reset + 1, 4.25) for reset in resets],
        [Timing(boot, 0.5, 0.0) for boot in boots],
    )


def loop(create: float) -> Steps:
    return Steps(Timing(create, create / 2, 0.0), [Timing(30.5, 1.5, 0.25)])


def test_table_fits_a_terminal_and_tells_both_sides() -> None:
    text = table([Class(40, [Round(ours(1800.0, [60.0, 62.0], [20.0, 21.0]), loop(2000.0))])])
    assert text == (
        "guests  step       by    answer, s  ratio   per guest, s  silent, s  ended, s\n"
        "40      create     us    1800.0     0.90    45.0                     900.0\n"
        "                   loop  2000.0             50.0                     1000.0\n"
        "        reset of 1 us    61.0       2.00                  4.2        62.0\n"
        "                   loop  30.5                             0.2        1.5\n"
        "        1st boot   us    20.5                                        0.5"
    )
    assert max(map(len, text.splitlines())) <= 80


def test_a_loop_whose_guests_do_not_come_up_shows_how_long_was_waited() -> None:
    silent = Steps(Timing(2000.0, 250.0, 0.0, missing=39), [])
    classes = [Class(40, [Round(ours(1800.0, [24.0], [20.5]), silent)])]
    assert table(classes) == (
        "guests  step       by    answer, s  ratio   per guest, s  silent, s  ended, s\n"
        "40      create     us    1800.0     <0.90   45.0                     900.0\n"
        "                   loop  >2000.0            >50.0                    250.0\n"
        "        reset of 1 us    24.0                             4.2        25.0\n"
        "        1st boot   us    20.5                                        0.5"
    )
    made, reset = verdict(classes)
    assert made.sentence == "40 guests made: less than 0.90 of the loop's time (at most 1.1)"
    assert made.holds
    assert reset.holds


@pytest.mark.parametrize(
    ("measured", "holds"),
    [
        (ours(110.0, [25.0, 25.0], [20.0, 20.0]), [True, True]),
        (ours(110.1, [20.0, 30.0], [21.0, 19.0]), [False, True]),  # the mean of each
        (ours(50.0, [25.0, 25.2], [20.0, 20.0]), [True, False]),
        (ours(50.0, [90.0, 90.0], [86.0, 84.0]), [True, True]),  # the loop's guest does not count
    ],
)
def test_bounds_of_a_class(measured: Steps, holds: list[bool]) -> None:
    assert [bound.holds for bound in verdict([Class(8, [Round(measured, loop(100.0))])])] == holds


def test_verdict_names_each_class_within_a_terminal() -> None:
    rounds = [Round(ours(220.0, [61.0], [30.5]), loop(100.0))]
    classes = [Class(count, rounds) for count in (1, 8)]
    lines = lines_of(verdict(classes)).splitlines()
    assert lines[0] == "BROKEN  1 guest made: 2.20 of the loop's time (at most 1.1)"
    assert lines[3] == "BROKEN  one among 8 guests reset: first boot and 30.5 s (at most 5.0 s)"
    assert max(map(len, lines)) <= 80


def test_programs_get_every_value() -> None:
    classes = [Class(1, [Round(ours(1.0, [2.0], [3.0]), loop(1.0))])]
    told = as_json(classes, verdict(classes))
    assert told["classes"][0]["rounds"][0]["ours"]["resets"] == [
        {"answer": 2.0, "command": 3.0, "silent": 4.25, "missing": 0}
    ]
    assert [bound["holds"] for bound in told["bounds"]] == [True, True]


def test_of_several_rounds_the_median_counts_and_the_range_is_told() -> None:
    rounds = [
        Round(ours(create, [reset], [20.0]), loop(100.0))
        for create, reset in ((130.0, 21.0), (90.0, 24.0), (95.0, 99.0))
    ]
    bounds = verdict([Class(1, rounds)])
    assert [bound.holds for bound in bounds] == [True, True]
    assert bounds[0].sentence == "1 guest made: 0.95 (0.90-1.30) of the loop's time (at most 1.1)"
    assert "first boot and 4.0 (1.0-79.0) s" in bounds[1].sentence
    assert "create     us    95.0       0.95" in table([Class(1, rounds)])
