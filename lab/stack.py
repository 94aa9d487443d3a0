"""The stack that a command is about: who runs `pulumi` for it, with which options, and on which machines."""

from __future__ import annotations

from lab.engine import PARALLEL, Engine, UserEngine
from lab.settings import Settings
from testbed import Spec, Testbed, processes, stackfile


def engine_with_state(settings: Settings) -> UserEngine:
    """Return the engine that knows the stack: the user's where a host is no machine of the testbed."""
    if foreign_hosts(settings):
        return UserEngine(settings.root)
    return engine_of(settings)


def engine_of(settings: Settings) -> Engine:
    """Return the engine whose state is the testbed's."""
    return Engine(settings.root, settings.state, {processes.MARK: str(settings.testbed)})


def stack_arguments(settings: Settings, engine: UserEngine) -> list[str]:
    """Return the options that `pulumi up` and `pulumi preview` share, the stack being ready for them."""
    stack = engine.stack_named(settings.stack, settings.stack_file)
    if isinstance(engine, Engine):
        engine.settle(settings.stack)
    return [
        *stack,
        *("--policy-pack", "policies"),
        *("--parallel", str(PARALLEL)),
        "--suppress-progress",  # a line of dots a second
    ]


def testbed_of(settings: Settings) -> Testbed:
    """Return the testbed of these settings."""
    return Testbed(settings.testbed, bridge=settings.bridge, subnet=settings.network, cache=settings.cache)


def foreign_hosts(settings: Settings) -> list[str]:
    """Return the hosts of the stack file that are no machines of the testbed."""
    return stackfile.foreign_hosts(settings.stack_file, settings.network, settings.root)


def machines_of(settings: Settings) -> list[Spec]:
    """Return the machines of the testbed that the stack file asks for."""
    return stackfile.machines(settings.stack_file, settings.network, settings.root)
