import pytest

from bench.answers import Timing
from bench.report import lines_of
from bench.student_report import Class, Round, Steps, as_json, beside_boot, table, verdict


def steps(create: float, reset: float, boot: float) -> Steps:
    return Steps(Timing(create, create / 2, 0.0), Timing(reset, reset + 1, 4.25), Timing(boot, 0.5, 0.0))


def test_table_fits_a_terminal_and_tells_both_sides() -> None:
    text = table([Class(40, [Round(steps(1800.0, 61.0, 20.0), steps(2000.0, 30.5, 20.0))])])
    assert text == (
        "guests  step       by    answer, s  ratio   per guest, s  silent, s  ended, s\n"
        "40      create     us    1800.0     0.90    45.0                     900.0\n"
        "                   loop  2000.0             50.0                     1000.0\n"
        "        reset of 1 us    61.0       2.00                  4.2        62.0\n"
        "                   loop  30.5                             4.2        31.5\n"
        "        boot of 1  us    20.0       1.00                             0.5\n"
        "                   loop  20.0                                        0.5"
    )
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize(
    ("ours", "loop", "holds"),
    [
        (steps(110.0, 25.0, 9.0), steps(100.0, 20.0, 9.0), [True, True]),
        (steps(110.1, 25.0, 9.0), steps(100.0, 20.0, 99.0), [False, True]),
        (steps(50.0, 25.1, 99.0), steps(100.0, 20.0, 99.0), [True, False]),  # later boots do not count
    ],
)
def test_bounds_of_a_class(ours: Steps, loop: Steps, holds: list[bool]) -> None:
    assert [bound.holds for bound in verdict([Class(8, [Round(ours, loop)])])] == holds


def test_verdict_names_each_class_within_a_terminal() -> None:
    rounds = [Round(steps(220.0, 61.0, 20.0), steps(100.0, 30.5, 20.0))]
    classes = [Class(count, rounds) for count in (1, 8)]
    lines = lines_of(verdict(classes), beside_boot(classes)).splitlines()
    assert lines[0] == "BROKEN  1 guest made: 2.20 of the loop's time (at most 1.1)"
    assert lines[3] == "BROKEN  one among 8 guests reset: first boot and 30.5 s (at most 5.0 s)"
    assert "a later boot and 41.0 s among 1, 41.0 s among 8;" in " ".join(lines)
    assert max(map(len, lines)) <= 80


def test_programs_get_every_value() -> None:
    classes = [Class(1, [Round(steps(1.0, 2.0, 3.0), steps(1.0, 2.0, 3.0))])]
    told = as_json(classes, verdict(classes))
    assert told["classes"][0]["rounds"][0]["ours"]["reset"] == {"answer": 2.0, "command": 3.0, "silent": 4.25}
    assert [bound["holds"] for bound in told["bounds"]] == [True, True]


def test_of_several_rounds_the_median_counts_and_the_range_is_told() -> None:
    loop = steps(100.0, 20.0, 9.0)
    rounds = [
        Round(steps(create, reset, 9.0), loop)
        for create, reset in ((130.0, 21.0), (90.0, 24.0), (95.0, 99.0))
    ]
    bounds = verdict([Class(1, rounds)])
    assert [bound.holds for bound in bounds] == [True, True]
    assert bounds[0].sentence == "1 guest made: 0.95 (0.90-1.30) of the loop's time (at most 1.1)"
    assert "first boot and 4.0 (1.0-79.0) s" in bounds[1].sentence
    assert "create     us    95.0       0.95" in table([Class(1, rounds)])
