"""Resources of the types that the rules judge, with inputs straight from the settings.

In the inputs {"later": VALUE} stands for a value that is not known before the update, {"secret": VALUE} for
a secret; "read_back" holds outputs that there are only once the resource was made.
"""

from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, Resource, ResourceProvider

DYNAMIC = "pulumi-python:dynamic/kvm:"


class Echo(ResourceProvider):
    """Makes nothing; what was asked for comes back, with what is read back besides."""

    def create(self, props: dict[str, Any]) -> CreateResult:
        """See above."""
        asked = {name: value for name, value in props.items() if name not in {"read_back", "__provider"}}
        return CreateResult("made", {**asked, **(props.get("read_back") or {})})


class Later(Resource):
    """A value that only the update knows."""

    value: pulumi.Output[Any]

    def __init__(self, name: str, value: object) -> None:
        super().__init__(Echo(), name, {"read_back": {"value": value}, "value": None})


def resolved(value: Any, name: str) -> Any:  # noqa: ANN401 - JSON
    """Return the inputs with outputs where the settings ask for them."""
    if isinstance(value, list):
        return [resolved(item, f"{name}-{index}") for index, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    if "later" in value:
        return Later(name, value["later"]).value
    if "secret" in value:
        return pulumi.Output.secret(value["secret"])
    return {key: resolved(item, f"{name}-{key}") for key, item in value.items()}


def declare(kind: str, name: str, inputs: dict[str, Any], provider: pulumi.ProviderResource | None) -> None:
    """Declare one resource."""
    if kind.startswith(DYNAMIC):
        made = type("Thing", (Resource,), {}, module="kvm", name=kind.removeprefix(DYNAMIC))
        made(Echo(), name, inputs)
    else:
        pulumi.CustomResource(kind, name, inputs, pulumi.ResourceOptions(provider=provider))


settings = pulumi.Config()
uri = settings.get("uri")
options = pulumi.ResourceOptions(version="0.5.4")
libvirt = pulumi.ProviderResource("libvirt", "host", {"uri": uri}, options) if uri else None
for entry in settings.require_object("resources"):
    declare(entry["type"], entry["name"], resolved(entry["inputs"], entry["name"]), libvirt)
