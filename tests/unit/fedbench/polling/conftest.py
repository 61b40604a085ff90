"""A polling federation of small learners."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest

from fedbench.config import PollingConfig, from_mapping
from fedbench.ids import current_node
from fedbench.learning.dispatch import LearnerDispatcher
from fedbench.learning.learner import Learner
from fedbench.polling.nodes import PollingNodes
from fedbench.tensors.model import ModelState
from fedbench.values import ClientInfo, RoundInfo, TrainResult

METHODS = ("train", "evaluate", "ping", "hold", "fail", "lump", "end")


def make_model(version: int = 0) -> ModelState:
    return ModelState.from_arrays({"w": np.arange(4, dtype=np.float32)}, version)


class Recorder(Learner):
    """Adds its number to the model, and records what it is told.

    Attributes:
        go: ``hold`` waits for it.
        holding: Set once ``hold`` waits.
        refuse: Raised by a pushed model or a notification.
    """

    def __init__(self, client: ClientInfo) -> None:
        super().__init__(client)
        self.versions: list[int] = []
        self.events: list[tuple[str, Any]] = []
        self.nodes: list[str] = []
        self.go, self.holding = asyncio.Event(), asyncio.Event()
        self.refuse: Exception | None = None

    def initial_model(self) -> ModelState:
        return make_model()

    def train(self, model: ModelState, round_info: RoundInfo) -> TrainResult:
        draft = model.draft(copy=True)
        draft["w"] += self.client.index + round_info.number
        return TrainResult(draft.freeze(), 5, {"loss": 0.5})

    async def evaluate(self, model: ModelState) -> dict[str, float]:
        return {"sum": float(model["w"].sum())}

    async def on_model_update(self, model: ModelState, version: int) -> None:
        self.nodes.append(current_node.get())
        if self.refuse is not None:
            raise self.refuse
        self.versions.append(version)

    async def on_event(self, event_type: str, data: Any) -> None:
        if self.refuse is not None:
            raise self.refuse
        self.events.append((event_type, data))

    async def hold(self) -> str:
        self.holding.set()
        await self.go.wait()
        return "held"

    async def fail(self) -> None:
        raise ZeroDivisionError("by zero")

    async def lump(self) -> object:
        return object()

    async def end(self) -> None:
        raise asyncio.CancelledError


@pytest.fixture
def model() -> Callable[..., ModelState]:
    """A function that makes a small model of a version."""
    return make_model


@pytest.fixture
def quiet() -> PollingConfig:
    """Polls fast and warns of nothing."""
    return PollingConfig(("memory_server", "fed_server", "hub"), 0.001, 0.002, warn_on_timeout=False)


@pytest.fixture
def build() -> Callable[..., PollingNodes]:
    """A function that makes nodes that have not been started."""

    def make(clients: int = 2, **polling: Any) -> PollingNodes:
        config = from_mapping(
            {
                "server": {"server_id": "hub"},
                "clients": {"count": clients, "rpc": {"allowed_methods": list(METHODS)}},
                "polling": {"receive_timeout_s": 0.002, "warn_on_timeout": False, **polling},
            }
        )
        dispatchers = [
            LearnerDispatcher(
                Recorder(ClientInfo(c.client_id, i, clients, 0)), c.client_id, c.allowed_methods
            )
            for i, c in enumerate(config.clients)
        ]
        return PollingNodes(config, dispatchers)

    return make


@pytest.fixture
async def nodes(build: Callable[..., PollingNodes]) -> AsyncIterator[PollingNodes]:
    """Two clients, started."""
    made = build()
    await made.start()
    yield made
    await made.stop()
