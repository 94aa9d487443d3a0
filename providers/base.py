"""What every dynamic provider here shares: inputs models, comparison, echo of inputs, progress.

A subclass brings an inputs model and four methods about the thing itself. It has no `__init__` and no
state, and is never moved or renamed: Pulumi stores it as a reference to its module and name.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar, cast

import pulumi
from pulumi.dynamic import (
    CheckFailure,
    CheckResult,
    CreateResult,
    DiffResult,
    ReadResult,
    ResourceProvider,
    UpdateResult,
)
from pulumi.output import Unknown
from pulumi.runtime.rpc import UNKNOWN
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from providers.errors import LabError
from providers.transport import Endpoint

PROGRESS_EVERY = 15.0
_SEEN_LENGTH = 80


class HostInputs(BaseModel):
    """Inputs every thing on a host has.

    Numbers come from Pulumi as float; pydantic takes 2.0 for an int. A key whose value is None is
    dropped on the way, so an optional field's default must be None or mean the same as None.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    endpoint: Endpoint
    stack: str = Field(pattern=r"^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$")
    """Who claims the thing: "<project>/<stack>.<host as the stack file names it>"."""


Inputs = TypeVar("Inputs", bound=HostInputs)


class HostProvider(ResourceProvider, Generic[Inputs]):
    """Create, compare, change and remove one kind of thing on a host.

    Outputs echo every input, so that the next diff and delete have them, plus what the methods return.
    """

    inputs_model: ClassVar[type[HostInputs]]
    """The model of the inputs; the type argument again, for use at run time."""
    replace_on: ClassVar[frozenset[str]] = frozenset()
    """Inputs whose change makes a new thing; the old one is deleted first."""
    stays_on_host: ClassVar[bool] = False
    """Whether the thing of another host is another thing: the old one is deleted where it is."""
    hints: ClassVar[frozenset[str]] = frozenset()
    """Inputs that say how a thing is made, not what it is: they are not compared."""
    secret_inputs: ClassVar[frozenset[str]] = frozenset()
    """Inputs whose values no message may show."""

    def create_thing(self, inputs: Inputs) -> tuple[str, dict[str, Any]]:
        """Make or adopt the thing; return its id and the further outputs.

        Continues whatever an earlier call that raised has left: nothing of that is in the state.
        """
        raise NotImplementedError

    def read_thing(self, inputs: Inputs, outs: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the outputs as the host shows them now; None when the thing is gone.

        What is seen of an input goes under that input's name: the next diff then names it.
        An exception when the host does not answer: that is not "gone".

        Args:
            inputs: as last stored; an input that was seen in a form its model refuses is as seen.
            outs: all outputs as last stored.
        """
        raise NotImplementedError

    def update_thing(self, olds: Inputs, news: Inputs) -> dict[str, Any]:
        """Make the thing what `news` say; return the further outputs.

        Args:
            olds: inputs as last stored, or as the last refresh saw them.
            news: the inputs wanted.
        """
        raise NotImplementedError

    def delete_thing(self, inputs: Inputs, outs: Mapping[str, Any]) -> None:
        """Drop this stack's claim and, if it was the last, remove the thing. Gone already: no error.

        Args:
            inputs: see read_thing.
            outs: all outputs as last stored.
        """
        raise NotImplementedError

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Report all mistakes in the inputs at once; what is not known yet is judged at the update.

        What is missing is taken for unknown: so it is when what it comes from could not be made and the run
        goes on without (--continue-on-error), and a failure here would end the whole run.
        """
        props = _public(news)
        try:
            inputs = self.inputs_model.model_validate(props)
        except ValidationError as error:
            failures = [
                CheckFailure(_property_path(mistake["loc"]), self._reason(mistake["loc"], mistake))
                for mistake in error.errors()
                if mistake["type"] != "missing" and not _touches_unknown(props, mistake["loc"])
            ]
            return CheckResult(props, failures)
        return CheckResult(_dump(inputs), [])

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Compare stored and wanted inputs field by field, without a connection."""
        olds, news = _public(_olds), _public(_news)
        changed = self._changed(olds, news)
        moved = {"endpoint"} if self.stays_on_host and _host(olds) != _host(news) else set()
        return DiffResult(
            changes=bool(changed),
            replaces=sorted(changed & (self.replace_on | moved)),
            delete_before_replace=True,
        )

    def create(self, props: dict[str, Any]) -> CreateResult:
        """See create_thing."""
        inputs = self._parse(props)
        identity, extra = self.create_thing(inputs)
        return CreateResult(identity, {**_dump(inputs), **extra})

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """See read_thing. The inputs of the state stay; drift shows as outputs that differ from them."""
        outs = _public(props)
        extra = self.read_thing(self._stored(outs), outs)
        if extra is None:
            return ReadResult("", {})
        return ReadResult(id_, {**outs, **extra})

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """See update_thing. A change of the endpoint alone is stored, nothing is contacted."""
        outs, news = _public(_olds), self._parse(_news)
        if self._changed(outs, _public(_news)) == {"endpoint"}:
            return UpdateResult({**outs, **_dump(news)})
        return UpdateResult({**_dump(news), **self.update_thing(self._stored(outs), news)})

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """See delete_thing."""
        outs = _public(_props)
        self.delete_thing(self._stored(outs), outs)

    def progress(self, inputs: Inputs, text: str) -> None:
        """Tell the user what happens on the host now."""
        progress(inputs.endpoint.host, type(self).__name__.removesuffix("Provider"), text)

    def phase(self, inputs: Inputs, text: str) -> contextlib.AbstractContextManager[None]:
        """Tell the user about a long step: when it starts, that it still runs, how long it took."""
        return phase(inputs.endpoint.host, type(self).__name__.removesuffix("Provider"), text)

    def _parse(self, props: Mapping[str, Any]) -> Inputs:
        try:
            return cast("Inputs", self.inputs_model.model_validate(_public(props)))
        except ValidationError as error:
            mistakes = [
                f"{_property_path(mistake['loc'])}: {self._reason(mistake['loc'], mistake)}"
                for mistake in error.errors()
            ]
            raise LabError(
                f"take the inputs of {type(self).__name__.removesuffix('Provider')}",
                "\n".join(mistakes),
                "correct what is named",
            ) from None

    def _stored(self, outs: Mapping[str, Any]) -> Inputs:
        """Return the inputs among stored outputs, also when a refresh saw what the model refuses."""
        fields = self.inputs_model.model_fields
        known = {name: outs[name] for name in fields if outs.get(name) is not None}
        try:
            return cast("Inputs", self.inputs_model.model_validate(known))
        except ValidationError:
            values: dict[str, Any] = {
                name: _lenient(_adapter(self.inputs_model, name), known.get(name)) for name in fields
            }
            return cast("Inputs", self.inputs_model.model_construct(**values))

    def _changed(self, outs: Mapping[str, Any], news: Mapping[str, Any]) -> set[str]:
        """Return the names of the inputs that differ; one not known yet counts as changed."""
        wanted = self._with_defaults(news)
        stored = self._with_defaults(outs)
        return {
            name
            for name in self.inputs_model.model_fields.keys() - self.hints
            if _contains_unknown(wanted.get(name))
            or _without_none(stored.get(name)) != _without_none(wanted.get(name))
        }

    def _with_defaults(self, props: Mapping[str, Any]) -> dict[str, Any]:
        """Return the inputs among `props`, in the form stored; JSON lists and numbers compare as such."""
        values: dict[str, Any] = {}
        for name, field in self.inputs_model.model_fields.items():
            if props.get(name) is not None:
                value = props[name]
            elif field.is_required():
                continue
            else:
                value = field.get_default(call_default_factory=True)
            values[name] = _canonical(_adapter(self.inputs_model, name), value)
        return values

    def _reason(self, loc: Sequence[str | int], mistake: Mapping[str, Any]) -> str:
        text = str(mistake["msg"]).removeprefix("Value error, ")
        seen = mistake["input"]
        # a whole object, or a value under a misspelt name, may hold a secret
        shown = (
            loc and loc[0] not in self.secret_inputs and mistake["type"] not in {"missing", "extra_forbidden"}
        )
        if not shown or not isinstance(seen, str | int | float | None):
            return text
        return (
            f"{text}; seen: {str(seen)[:_SEEN_LENGTH]!r}"
            if isinstance(seen, str)
            else f"{text}; seen: {seen}"
        )


class HostResource(pulumi.dynamic.Resource):
    """A thing on a host, as declared in a Pulumi program.

    Args:
        provider: the provider; stored as a reference.
        name: the resource's name in the stack.
        props: the inputs; an Endpoint may be given as it is.
        outputs: names of the outputs besides the inputs; they become attributes.
        secret_outputs: inputs and outputs that are encrypted in the state.
        opts: as for every resource.
    """

    def __init__(
        self,
        provider: HostProvider[Any],
        name: str,
        props: Mapping[str, Any],
        *,
        outputs: Sequence[str] = (),
        secret_outputs: Sequence[str] = (),
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        declared: dict[str, Any] = dict.fromkeys(outputs)
        for key, value in props.items():
            declared[key] = _dump(value) if isinstance(value, BaseModel) else value
        secrets = pulumi.ResourceOptions(additional_secret_outputs=list(secret_outputs))
        super().__init__(provider, name, declared, pulumi.ResourceOptions.merge(opts, secrets))


def progress(host: str, resource: str, text: str) -> None:
    """Write a line of progress; Pulumi shows stderr without saying whose it is."""
    sys.stderr.write(f"{host} {resource}: {text}\n")
    sys.stderr.flush()


@contextlib.contextmanager
def phase(host: str, resource: str, text: str) -> Iterator[None]:
    """Write `text` now, again with the elapsed seconds every 15 s, and at the end how long it took."""
    began = time.monotonic()
    done = threading.Event()

    def remind() -> None:
        while not done.wait(PROGRESS_EVERY):
            progress(host, resource, f"{text} ({time.monotonic() - began:.0f} s so far)")

    progress(host, resource, text)
    reminder = threading.Thread(target=remind, daemon=True, name="progress")
    reminder.start()
    try:
        yield
    except BaseException:
        progress(host, resource, f"{text}: failed after {time.monotonic() - began:.1f} s")
        raise
    else:
        progress(host, resource, f"{text}: done in {time.monotonic() - began:.1f} s")
    finally:
        done.set()


def _public(props: Mapping[str, Any]) -> dict[str, Any]:
    """Return the properties without Pulumi's own (`__provider`)."""
    return {name: value for name, value in props.items() if not name.startswith("__")}


def _host(props: Mapping[str, Any]) -> object:
    endpoint = props.get("endpoint")
    return endpoint.get("host") if isinstance(endpoint, Mapping) else None


def _dump(model: BaseModel) -> dict[str, Any]:
    return model.model_dump(mode="json", exclude_none=True)


def _is_unknown(value: object) -> bool:
    return isinstance(value, Unknown) or value == UNKNOWN


def _contains_unknown(value: object) -> bool:
    if isinstance(value, Mapping):
        return any(map(_contains_unknown, value.values()))
    if isinstance(value, list):
        return any(map(_contains_unknown, value))
    return _is_unknown(value)


def _touches_unknown(props: object, loc: Sequence[str | int]) -> bool:
    """Say whether a mistake at `loc` is, or may come from, a value that is not known yet."""
    value = props
    for step in loc:
        if _is_unknown(value):
            return True
        try:
            value = cast("Any", value)[step]
        except (LookupError, TypeError):
            return False
    return _contains_unknown(value)


def _property_path(loc: Sequence[str | int]) -> str:
    """Return the path of a property as Pulumi writes it: `packages[0]`, `endpoint.port`."""
    path = ""
    for step in loc:
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else step
    return path


@functools.cache
def _adapter(model: type[BaseModel], field: str) -> TypeAdapter[object]:
    """Return what validates this field of the model by itself."""
    return TypeAdapter(cast("Any", model.model_fields[field].rebuild_annotation()))


def _lenient(adapter: TypeAdapter[object], value: object) -> object:
    """Return `value` as the field's type, or as it is when the type refuses it."""
    try:
        return adapter.validate_python(value)
    except ValidationError:
        return value


def _canonical(adapter: TypeAdapter[object], value: object) -> object:
    """Return `value` in the JSON form in which a checked input is stored; as it is when refused."""
    if _contains_unknown(value):
        return value
    try:
        return adapter.dump_python(adapter.validate_python(value), mode="json")
    except ValidationError:
        return value


def _without_none(value: object) -> object:
    """Return `value` without the keys that are None, which Pulumi drops on the way."""
    if isinstance(value, Mapping):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_none(item) for item in value]
    return value
