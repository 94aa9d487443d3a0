"""What a plan does to the hosts' own networks: their bridges, and bridge netfilter; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from review.inventory import BRIDGE
from review.model import Effect, Step, Verdict
from review.parts import REACHED, changed_keys, edited, found, kind, listed, said

LIVE = "live: nothing goes down"
DOWN = "its network is down for a moment"
_OPTIONS: dict[str, Callable[[str, Any, Any], str]] = {
    "stp": lambda bridge, _, new: f"STP of {bridge} goes {said(new)}",
    "forward_delay": lambda bridge, old, new: (
        f"forward delay of {bridge} becomes {said(new)} s ({old})"  # a refresh saw files and kernel apart
        if isinstance(old, str)
        else f"forward delay of {bridge} {said(old)} s becomes {said(new)} s"
    ),
    "extra_ports": lambda bridge, old, new: _ports(bridge, old or [], new or []),
    "max_wait": lambda bridge, old, new: f"{bridge} waits for its ports for {said(new)} s, not {said(old)} s",
    "dns_search": lambda _, old, new: f"the host's search domains {said(old)} become {said(new)}",
    "ipv6_auto": lambda bridge, _, new: (
        f"{bridge} takes IPv6 addresses from router advertisements"
        if new
        else f"{bridge} leaves router advertisements to the kernel's default"
    ),
}
"""What an edit of an option does, all of it live; see providers/state/bridge.py."""
_NOTED: dict[str, Callable[[Any, Any], str]] = {
    "rollback_timeout": lambda old, new: (
        f"a change of its network is undone by itself after {said(new)} s, not {said(old)} s, from now on"
    ),
    "migration": lambda _, new: (
        f"guests may {'' if new else 'no longer '}move to and from it while they run, from now on"
    ),
}


def network_effects(host: str, steps: Iterable[Step], student: str | None) -> Iterator[Effect]:
    """Yield what happens to the network of a host.

    Changes of what only says how it is reached are not told here.
    """
    for step in steps:
        if step.op == "same":
            continue
        told = _of_bridge(step) if kind(step) == BRIDGE else _of_netfilter(step)
        if told is not None:
            sentence, touched = told
            verdict = Verdict.NETWORK if touched else Verdict.SAFE
            subject = host if touched else ""
            yield Effect(verdict, sentence, host, student=student, subject=subject, urns=(step.urn,))


def goes_down(step: Step) -> bool:
    """Tell whether a step takes the network of its host down, for a moment at least."""
    if kind(step) != BRIDGE:
        return False
    return step.op in {"create", "replace", "delete"} or (step.op == "update" and _is_elsewhere(step))


def _of_bridge(step: Step) -> tuple[str, bool] | None:
    if step.op == "create":
        return _taken_over(step), True
    if step.op == "delete":
        return _given_back(step), True
    if step.op == "replace":
        return _exchanged(step), True
    return _updated(step)


def _taken_over(step: Step) -> str:
    name, port = said(step.new.get("name")), said(step.new.get("port"))
    more = step.new.get("extra_ports") or []
    told = [f"{name} takes over the addresses and the default route of {port}"]
    if more:
        told.append(_ports(name, [], more))
    return f"{listed(told)}: {DOWN}"


def _given_back(step: Step) -> str:
    name, port = said(step.old.get("name")), said(step.old.get("port"))
    if step.outputs.get("adopted") is True:
        return f"{name} and {port} become what they were before the lab: its network may be down for a moment"
    return f"{port} gets the addresses and the default route back from {name}: {DOWN}"


def _exchanged(step: Step) -> str:
    old, new = step.old, step.new
    gone, made = said(old.get("name")), said(new.get("name"))
    before, after = said(step.outputs.get("claimed_port") or old.get("port")), said(new.get("port"))
    if before == after:
        return f"{gone} goes, and {made} takes over the addresses of {after}: its network is down, twice"
    return (
        f"{before} gets the addresses back from {gone}, and {made} takes over those of {after}: "
        "its network is down, twice"
    )


def _updated(step: Step) -> tuple[str, bool] | None:
    bridge, changes = said(step.new.get("name")), edited(step)
    if _is_elsewhere(step):
        return f"{bridge} is made as the stack file has it again: its network may be down for a moment", True
    told = [say(bridge, *changes[option]) for option, say in _OPTIONS.items() if option in changes]
    if _is_moved(*changes.get("endpoint", (None, None))) and len(changes) > 1:
        # with another option the bridge is made where the host is looked for now, on whatever answers there
        return listed([*told, f"{bridge} is made at the host's new address, if it is not there"]), True
    if told:
        return f"{listed(told)}; {LIVE}{_slow(step)}", True
    unknown = changed_keys(step) - REACHED - _NOTED.keys()
    if unknown:
        return f"{bridge} changes ({listed(sorted(unknown))}); what that does is not known", True
    noted = [say(*changes[option]) for option, say in _NOTED.items() if option in changes]
    return (listed(noted), False) if noted else None


def _is_moved(old: object, new: object) -> bool:
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return old != new
    return any(old.get(key) != new.get(key) for key in ("address", "port"))


def _is_elsewhere(step: Step) -> bool:
    """Tell whether a refresh has seen other ports, or no bridge: only ifdown and ifup lead back then."""
    return step.op == "update" and not {"port", "name"}.isdisjoint(edited(step))


def _slow(step: Step) -> str:
    delay = step.new.get("forward_delay")
    is_on = step.new.get("stp") is True and isinstance(delay, int | float)
    return f"; a guest that starts is silent for {said(2 * delay)} s" if is_on else ""  # type: ignore[operator]


def _ports(bridge: str, old: list[str], new: list[str]) -> str:
    told = [f"{port} becomes a further port of {bridge}" for port in new if port not in old]
    told += [f"{port} leaves {bridge}" for port in old if port not in new]
    return listed(told) if told else f"the further ports of {bridge} are told in another order"


def _of_netfilter(step: Step) -> tuple[str, bool] | None:
    if step.op == "delete":
        return f"bridge netfilter is given back as it was found; {LIVE}", True
    before, after = found(step).get("enabled"), step.new.get("enabled")
    if step.op != "update" or before != after:
        goes = "goes" if after else "does not go"
        told = f"bridge netfilter goes {said(after)}: what its bridges pass on {goes} through its firewall"
        return f"{told}; {LIVE}", True
    changes = edited(step)
    noted = [say(*changes[option]) for option, say in _NOTED.items() if option in changes]
    return (listed(noted), False) if noted else None
