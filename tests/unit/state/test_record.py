"""Claims of stacks on a host's things."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from providers.state.record import Record


def test_last_claim_that_goes_leaves_nothing() -> None:
    record = Record(kind="bridge", key="br0").claimed("lab/a", {"stp": False}).claimed("lab/b", None)
    assert record.claims == {"lab/a": {"stp": False}, "lab/b": None}
    rest = record.released("lab/a")
    assert rest is not None
    assert rest.claims == {"lab/b": None}
    assert rest.released("lab/b") is None


def test_release_of_a_claim_that_is_not_there() -> None:
    record = Record(kind="bridge", key="br0").claimed("lab/a", 1)
    assert record.released("lab/b") == record


def test_claim_is_replaced_and_the_original_stays_as_it_is() -> None:
    first = Record(kind="bridge", key="br0").claimed("lab/a", 1)
    assert first.claimed("lab/a", 2).claims == {"lab/a": 2}
    assert first.claims == {"lab/a": 1}


def test_a_renamed_stack_keeps_its_claim_and_others_theirs() -> None:
    record = Record(kind="bridge", key="br0").claimed("lab/a", 1).claimed("lab/b", 2)
    assert record.renamed("lab/a", "lab/c").claims == {"lab/c": 1, "lab/b": 2}
    assert record.renamed("lab/x", "lab/c") == record


def test_facts_are_merged() -> None:
    record = Record(kind="packages", key="apt").with_facts(brought=["tree"]).with_facts(pending=[])
    assert record.facts == {"brought": ["tree"], "pending": []}


def test_round_trip() -> None:
    record = Record(kind="image", key="debian-12-ab", adopted=True).claimed("lab/a", [1, {"x": None}])
    assert Record.model_validate_json(record.model_dump_json()) == record


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", ".hidden", "a b"])
def test_names_are_file_names(name: str) -> None:
    with pytest.raises(ValidationError):
        Record(kind="bridge", key=name)
