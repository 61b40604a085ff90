"""Floors timed beside what a workload does, with another process that lives as long as the clients do."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING

from harness.stacks.floors_process import queue_trips
from harness.stacks.floors_tcp import tcp_transfers
from harness.workloads.beside import FLOORS, Beside, beside_s

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from harness.stacks.floors_process import Timed

START_S = 0.3
"""About how long it takes to start the other process, in seconds."""

_TRIP_S = {"queue": 100e-6, "ws_echo": 250e-6}
"""Round trips, and about how long each takes, in seconds."""
_TRANSFERS = ("ws_broadcast", "tcp")


def open_trips(name: str) -> AbstractAsyncContextManager[Timed]:
    """Keep an echo of 64 bytes behind what is named: a bare ``queue``, ``ws_echo``; nothing for no name.

    Raises:
        ValueError: The name is unknown.
    """
    if not name:
        return _nothing()
    if name not in _TRIP_S:
        raise ValueError(f"unknown floor {name!r}: use one of {', '.join(_TRIP_S)}")
    if name == "queue":
        return queue_trips()
    from harness.stacks import floors_network  # only for those who ask: aiohttp takes memory

    return floors_network.echo_trips()


def trips_s(name: str, times: int) -> float:
    """Return about how long so many round trips take, in s; 0 for no floor."""
    return START_S + _TRIP_S[name] * times if name in _TRIP_S else 0.0


def open_transfers(
    name: str, model_bytes: int, clients: int, *, up: bool = False
) -> AbstractAsyncContextManager[Timed]:
    """Be ready to transfer a model by bare means, or to do other work of its size; nothing for no name.

    Args:
        name: ``ws_broadcast`` to all clients, ``tcp`` for one, or one of the floors of this process.
        model_bytes: Size of the model in bytes.
        clients: How many clients there are.
        up: Whether ``tcp`` brings the model here.

    Raises:
        ValueError: The name is unknown, or the floor is none of so many clients.
    """
    if not name:
        return _nothing()
    if name in FLOORS:
        return _here(FLOORS[name](model_bytes, clients))
    if name not in _TRANSFERS:
        raise ValueError(f"unknown floor {name!r}: use one of {', '.join((*FLOORS, *_TRANSFERS))}")
    if name == "tcp":
        if clients != 1:
            raise ValueError(f"the floor 'tcp' is one of a single client, not of {clients}")
        return tcp_transfers(model_bytes, up=up)
    from harness.stacks import floors_network

    return floors_network.ws_broadcasts(clients, model_bytes)


def transfers_s(name: str, model_bytes: int, clients: int, times: int) -> float:
    """Return about how long so many transfers take, in s; 0 for no floor."""
    if name == "ws_broadcast":
        return START_S + clients * (2e-3 + times * (100e-6 + 1e-9 * model_bytes))
    if name == "tcp":
        return START_S + 6e-10 * model_bytes * (times + 1)
    return beside_s(name, model_bytes, clients, times)


@asynccontextmanager
async def _nothing() -> AsyncIterator[Timed]:
    async def never(count: int) -> list[int]:
        return []

    yield never


@asynccontextmanager
async def _here(floor: Beside) -> AsyncIterator[Timed]:
    async def timed(count: int) -> list[int]:
        return [floor.time() for _ in range(count)]

    yield timed
