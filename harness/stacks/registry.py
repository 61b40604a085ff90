"""Systems under test by name. Others plug in through the entry point group ``fedbench.stacks``."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from fedbench.errors import ConfigError
from harness.stacks.federation import FederationStack
from harness.stacks.floors import FloorStack
from harness.stacks.grpc_aio import GrpcAioStack

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harness.stacks.base import Stack

OWN = ("push", "polling", "floors", "grpc_aio")
_WITHOUT_SETTINGS: dict[str, Callable[[], Stack]] = {"floors": FloorStack, "grpc_aio": GrpcAioStack}
GROUP = "fedbench.stacks"


def stack_names() -> list[str]:
    """Return every known stack, this project's own first."""
    return [*OWN, *sorted(entry.name for entry in entry_points(group=GROUP) if entry.name not in OWN)]


def create_stack(name: str, mode: str, settings: Mapping[str, Any]) -> Stack:
    """Make a stack. An entry point is called as ``factory(mode=…, settings=…)``.

    Raises:
        ValueError: The name is unknown, or the stack has no such settings.
    """
    if name in _WITHOUT_SETTINGS:
        if settings:
            raise ValueError(f"the stack {name!r} has no settings, found {', '.join(settings)}")
        return _WITHOUT_SETTINGS[name]()
    if name in OWN:
        return FederationStack(name, mode, settings)
    for entry in entry_points(group=GROUP):
        if entry.name == name:
            stack: Stack = entry.load()(mode=mode, settings=settings)
            return stack
    raise ValueError(f"unknown stack {name!r}: known are {', '.join(stack_names())}")


def check_settings(name: str, mode: str, settings: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the settings of a stack, as far as it can be told before it runs."""
    try:
        stack = create_stack(name, mode, settings)
        if isinstance(stack, FederationStack):
            stack.check()
    except ConfigError as error:
        return [str(problem) for problem in error.problems]
    except ValueError as error:
        return [str(error)]
    return []
