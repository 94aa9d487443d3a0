"""The form all providers share: what reaches them from the engine, and what goes back."""

from __future__ import annotations

import base64
import pickle
import time
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import pytest
from pulumi.dynamic.dynamic import serialize_provider
from pulumi.output import UNKNOWN
from pulumi.runtime import rpc
from pydantic import BaseModel, Field, model_validator

from providers import base
from providers.apt_packages import AptPackagesProvider
from providers.base import HostInputs, HostProvider
from providers.errors import LabError

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2ilL8y4w4mPvvVjv4n2mN2pW0m5x9QvSx3mT4o6o4r"


class Part(BaseModel):
    size: int
    label: str | None = None


class ThingInputs(HostInputs):
    cores: Annotated[int, Field(ge=1, le=8)]
    names: tuple[str, ...] = ()
    part: Part | None = None
    password: str | None = None
    kind: str = "plain"

    @model_validator(mode="after")
    def _no_core_per_name(self) -> ThingInputs:
        if len(self.names) > self.cores:
            raise ValueError("more names than cores")
        return self


class ThingProvider(HostProvider[ThingInputs]):
    inputs_model: ClassVar[type[HostInputs]] = ThingInputs
    replace_on: ClassVar[frozenset[str]] = frozenset({"kind"})
    secret_inputs: ClassVar[frozenset[str]] = frozenset({"password"})
    calls: ClassVar[list[tuple[str, Any]]] = []
    seen: ClassVar[dict[str, Any] | None] = {}

    def create_thing(self, inputs: ThingInputs) -> tuple[str, dict[str, Any]]:
        return f"id-{inputs.cores}", {"made": True}

    def read_thing(self, inputs: ThingInputs, outs: Mapping[str, Any]) -> dict[str, Any] | None:
        self.calls.append(("read", inputs))
        assert "__provider" not in outs
        return self.seen

    def update_thing(self, olds: ThingInputs, news: ThingInputs) -> dict[str, Any]:
        self.calls.append(("update", (olds, news)))
        return {"made": "again"}

    def delete_thing(self, inputs: ThingInputs, outs: Mapping[str, Any]) -> None:
        assert outs["made"] is True
        self.calls.append(("delete", inputs))


@pytest.fixture
def provider() -> ThingProvider:
    ThingProvider.calls.clear()
    ThingProvider.seen = {}
    return ThingProvider()


def props(**changes: object) -> dict[str, Any]:
    """Inputs as the engine hands them over: numbers are floats."""
    endpoint = {"host": "g1s1", "address": "198.51.100.11", "port": 22.0, "host_keys": [KEY]}
    return {"__provider": "gAS", "endpoint": endpoint, "stack": "lab/main", "cores": 2.0, **changes}


def made(provider: ThingProvider, **changes: object) -> dict[str, Any]:
    outs = provider.create(props(**changes)).outs
    assert outs is not None
    return outs


class TestCheck:
    def test_normal_form(self, provider: ThingProvider) -> None:
        result = provider.check({}, props(part={"size": 3.0}))
        assert result.failures == []
        assert result.inputs["cores"] == 2
        assert isinstance(result.inputs["cores"], int)
        assert result.inputs["part"] == {"size": 3}
        assert result.inputs["kind"] == "plain"
        assert "password" not in result.inputs
        assert "__provider" not in result.inputs

    def test_what_is_missing_may_come_from_what_could_not_be_made(self, provider: ThingProvider) -> None:
        """A run that goes on without it asks for this check, and then leaves the thing alone."""
        without = {name: value for name, value in props().items() if name != "cores"}
        assert provider.check({}, without).failures == []
        with pytest.raises(LabError, match="cores: Field required"):
            provider.create(without)

    def test_all_mistakes_at_once_with_path_and_value(self, provider: ThingProvider) -> None:
        wrong = props(cores=9.5, names=["a", 3.0], part={"size": "big"}, stack="main", kinds="x")
        failures = {failure.property: failure.reason for failure in provider.check({}, wrong).failures}
        assert set(failures) == {"cores", "names[1]", "part.size", "stack", "kinds"}
        assert "seen: 9.5" in failures["cores"]
        assert "seen: 'big'" in failures["part.size"]

    def test_an_only_host_key_that_is_malformed_is_one_mistake(self, provider: ThingProvider) -> None:
        endpoint = {"host": "h", "address": "a", "host_keys": ["ssh-ed25519 AAAA"]}
        (failure,) = provider.check({}, props(endpoint=endpoint)).failures
        assert failure.property == "endpoint.host_keys[0]"

    def test_no_host_key(self, provider: ThingProvider) -> None:
        endpoint = {"host": "h", "address": "a", "host_keys": []}
        (failure,) = provider.check({}, props(endpoint=endpoint)).failures
        assert "at least one host key" in failure.reason

    def test_secrets_are_in_no_message(self, provider: ThingProvider) -> None:
        wrong = props(password=["correct horse"], pasword="correct horse", names=["a", "b", "c"])
        reasons = [failure.reason for failure in provider.check({}, wrong).failures]
        assert len(reasons) == 2
        late = props(password="correct horse", names=["a", "b", "c"])
        reasons += [failure.reason for failure in provider.check({}, late).failures]
        assert len(reasons) == 3
        assert "correct horse" not in str(reasons)

    @pytest.mark.parametrize("unknown", [UNKNOWN, rpc.UNKNOWN])
    def test_what_is_unknown_is_judged_later(self, provider: ThingProvider, unknown: object) -> None:
        result = provider.check({}, props(cores=unknown, part={"size": unknown}, names=["a", unknown, 3.0]))
        assert [failure.property for failure in result.failures] == ["names[2]"]
        assert result.inputs["cores"] is unknown

    def test_unknown_endpoint(self, provider: ThingProvider) -> None:
        assert provider.check({}, props(endpoint=UNKNOWN)).failures == []


class TestDiff:
    def test_nothing_changed(self, provider: ThingProvider) -> None:
        outs = made(provider, names=["a"], part={"size": 1.0})
        stored = {**outs, "cores": 2.0, "part": {"size": 1.0}}
        result = provider.diff("id", stored, props(names=["a"], part={"size": 1.0, "label": None}))
        assert (result.changes, result.replaces) == (False, [])

    @pytest.mark.parametrize(
        "change", [{"cores": 3.0}, {"names": ["a"]}, {"part": {"size": 1.0}}, {"password": "x"}]
    )
    def test_each_input_counts(self, provider: ThingProvider, change: dict[str, Any]) -> None:
        result = provider.diff("id", made(provider), props(**change))
        assert (result.changes, result.replaces) == (True, [])

    def test_an_input_taken_away_counts(self, provider: ThingProvider) -> None:
        assert provider.diff("id", made(provider, password="x"), props()).changes is True

    def test_replacement_deletes_first(self, provider: ThingProvider) -> None:
        result = provider.diff("id", made(provider), props(kind="other"))
        assert result.replaces == ["kind"]
        assert result.delete_before_replace is True

    def test_input_that_an_older_program_did_not_store(self, provider: ThingProvider) -> None:
        outs = made(provider)
        del outs["kind"]
        assert provider.diff("id", outs, props()).changes is False

    def test_unknown_input_is_a_change(self, provider: ThingProvider) -> None:
        assert provider.diff("id", made(provider), props(names=[UNKNOWN])).changes is True

    def test_further_outputs_do_not_count(self, provider: ThingProvider) -> None:
        assert provider.diff("id", {**made(provider), "made": False}, props()).changes is False


class TestCreateUpdateDelete:
    def test_create_echoes_inputs(self, provider: ThingProvider) -> None:
        result = provider.create(props(names=["a"]))
        assert result.id == "id-2"
        assert result.outs is not None
        assert result.outs["names"] == ["a"]
        assert result.outs["endpoint"]["port"] == 22
        assert result.outs["made"] is True

    def test_create_with_a_value_that_never_came(self, provider: ThingProvider) -> None:
        with pytest.raises(LabError, match="cores: Input should be a valid integer"):
            provider.create(props(cores=None))

    def test_update_returns_everything(self, provider: ThingProvider) -> None:
        outs = provider.update("id", made(provider), props(cores=3.0)).outs
        assert outs is not None
        assert (outs["cores"], outs["made"], outs["stack"]) == (3, "again", "lab/main")
        ((_, (olds, news)),) = provider.calls
        assert (olds.cores, news.cores) == (2, 3)

    def test_new_endpoint_alone_is_only_stored(self, provider: ThingProvider) -> None:
        endpoint = {**props()["endpoint"], "port": 2222.0}
        assert provider.diff("id", made(provider), props(endpoint=endpoint)).changes is True
        outs = provider.update("id", made(provider), props(endpoint=endpoint)).outs
        assert outs is not None
        assert outs["endpoint"]["port"] == 2222
        assert outs["made"] is True
        assert provider.calls == []

    def test_delete_gets_inputs_and_outputs(self, provider: ThingProvider) -> None:
        provider.delete("id", {**made(provider), "__provider": "gAS"})
        assert provider.calls[0][1].cores == 2


class TestRead:
    def test_drift_goes_under_the_input_s_name(self, provider: ThingProvider) -> None:
        ThingProvider.seen = {"cores": 4}
        result = provider.read("id", {**made(provider), "__provider": "gAS"})
        assert result.id == "id"
        assert result.outs is not None
        assert (result.outs["cores"], result.outs["made"]) == (4, True)
        assert provider.diff("id", result.outs, props()).changes is True

    def test_gone(self, provider: ThingProvider) -> None:
        ThingProvider.seen = None
        result = provider.read("id", made(provider))
        assert (result.id, result.outs) == ("", {})

    def test_drift_that_the_model_refuses_does_not_hinder_later_calls(self, provider: ThingProvider) -> None:
        ThingProvider.seen = {"cores": 99}
        outs = provider.read("id", made(provider, part={"size": 1.0})).outs
        assert outs is not None
        assert provider.diff("id", outs, props()).changes is True
        provider.update("id", outs, props())
        provider.delete("id", outs)
        olds = provider.calls[-1][1]
        assert olds.cores == 99
        assert olds.part == Part(size=1)
        assert olds.endpoint.port == 22


class TestPickling:
    def test_a_provider_is_stored_by_reference(self) -> None:
        first = serialize_provider(AptPackagesProvider())
        assert first == serialize_provider(AptPackagesProvider())
        assert len(base64.b64decode(first)) < 100
        again = pickle.loads(base64.b64decode(first))  # noqa: S301 - made two lines above
        assert type(again) is AptPackagesProvider


class TestProgress:
    def test_lines_name_host_and_resource(self, capsys: pytest.CaptureFixture[str]) -> None:
        base.progress("g1s1", "Thing", "works")
        assert capsys.readouterr().err == "g1s1 Thing: works\n"

    def test_long_phase_gives_signs_of_life(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(base, "PROGRESS_EVERY", 0.05)
        with base.phase("g1s1", "Thing", "install"):
            time.sleep(0.2)
        lines = capsys.readouterr().err.splitlines()
        assert lines[0] == "g1s1 Thing: install"
        assert "so far" in lines[1]
        assert "done in" in lines[-1]

    def test_failed_phase_says_so(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(ValueError, match="x"), base.phase("g1s1", "Thing", "install"):
            raise ValueError("x")
        assert "install: failed after" in capsys.readouterr().err
