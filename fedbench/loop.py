"""Which event loop runs: uvloop where it installs, plain asyncio otherwise or when asked for."""

from __future__ import annotations

import asyncio
import contextvars
import functools
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, get_args

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

LoopName = Literal["auto", "asyncio", "uvloop"]
LOOPS: tuple[LoopName, ...] = get_args(LoopName)

T = TypeVar("T")
P = ParamSpec("P")


def resolve_loop(name: LoopName) -> Literal["asyncio", "uvloop"]:
    """Return which loop ``auto`` means here.

    Raises:
        ValueError: The name is unknown, or uvloop was asked for and is not installed.
    """
    if name not in LOOPS:
        raise ValueError(f"unknown loop {name!r}: use one of {', '.join(LOOPS)}")
    installed = find_spec("uvloop") is not None
    if name == "uvloop" and not installed:
        raise ValueError("uvloop is not installed: install it, or use loop 'asyncio'")
    return "uvloop" if installed and name != "asyncio" else "asyncio"


def run(main: Coroutine[Any, Any, T], loop: LoopName = "auto") -> T:
    """Run a coroutine to its end in a new event loop, as :func:`asyncio.run` does.

    Raises:
        ValueError: As for :func:`resolve_loop`; ``main`` is closed.
    """
    try:
        kind = resolve_loop(loop)
    except ValueError:
        main.close()
        raise
    factory = None
    if kind == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a function in a thread of its own that ends with it. Cancelling stops the waiting only."""
    executor = ThreadPoolExecutor(1, f"fedbench-{getattr(function, '__name__', 'thread')}")
    try:
        work = functools.partial(contextvars.copy_context().run, function, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(executor, work)
    finally:
        executor.shutdown(wait=False)
