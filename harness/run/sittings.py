"""The pressure on the machine around each sitting of a run, which may lie hours and boots apart. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping


class Pressure(msgspec.Struct, frozen=True):
    """What :func:`harness.records.environment.pressure` returns."""

    load: list[float]
    stall_share: dict[str, float | None]
    cpu_ticks: dict[str, int] | None = None


class Sitting(msgspec.Struct, frozen=True):
    """Pressure at both ends of a sitting."""

    before: Pressure
    after: Pressure


class _Environment(msgspec.Struct, frozen=True):
    before: Pressure
    after: Pressure
    sittings: list[Sitting] = []


def sittings_of(environment: Mapping[str, Any]) -> list[Sitting]:
    """Return the sittings of a run, the first one first.

    Raises:
        msgspec.ValidationError: The environment was edited to something that no run writes.
    """
    found = msgspec.convert(environment, _Environment)
    return found.sittings or [Sitting(found.before, found.after)]


def begun(environment: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """Return the environment of a run that is resumed now.

    Args:
        environment: As the run had it when it broke off.
        before: The pressure now.
    """
    earlier = environment.get("sittings") or [{key: environment[key] for key in ("before", "after")}]
    return {**environment, "sittings": [*earlier, {"before": before, "after": before}]}


def ended(environment: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Return the environment of a run whose last sitting ends now, with the pressure now."""
    found = {**environment, "after": after}
    if sittings := environment.get("sittings"):
        found["sittings"] = [*sittings[:-1], {**sittings[-1], "after": after}]
    return found
