from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from fedbench.tensors.model import ModelState
from harness.records.derive import Outcome
from harness.run.session import RecordCounter
from harness.stacks.base import FederationSpec
from harness.stacks.federation import FederationStack
from harness.stats.histogram import Histogram
from harness.workloads import training, transfers
from harness.workloads.beside import against_floor
from harness.workloads.learners import EchoLearner
from harness.workloads.registry import create_workload


@dataclass
class QuietSession:
    """A session that measures nothing and remembers what it was asked.

    Attributes:
        asked: In order.
        counter: Where warnings are found.
    """

    asked: list[Any] = field(default_factory=list)
    counter: RecordCounter = field(default_factory=RecordCounter)

    @asynccontextmanager
    async def measured(self, *, memory: bool = False, densely: bool = False) -> AsyncIterator[None]:
        self.asked.append(("begin", memory))
        yield
        self.asked.append("end")

    async def hold(self, seconds: float) -> None:
        self.asked.append(seconds)

    async def sample_memory(self) -> None:
        self.asked.append("sample")

    def keep_warnings(self) -> None:
        self.counter.warnings = []

    def warnings_naming(self, node_id: str) -> int:
        return sum(node_id in message for message in self.counter.warnings or [])


class TappedStack(FederationStack):
    """Push, with the handlers of the clients within reach of a test that breaks something.

    Attributes:
        stops: How often it was stopped.
    """

    def __init__(self) -> None:
        super().__init__("push", "memory", {})
        self.stops = 0

    @property
    def echoes(self) -> list[EchoLearner]:
        assert self._federation is not None
        return cast("list[EchoLearner]", list(self._federation.learner_instances))

    async def start(self, spec: FederationSpec) -> None:
        await super().start(spec)
        self.started()

    def started(self) -> None:
        """The federation is up: break what is to be broken."""

    async def stop(self) -> None:
        self.stops += 1
        await super().stop()


@pytest.fixture
def session() -> Iterator[QuietSession]:
    import logging

    made = QuietSession()
    logging.getLogger().addHandler(made.counter)
    yield made
    logging.getLogger().removeHandler(made.counter)


@pytest.fixture(params=["push", "polling"])
def stack(request: pytest.FixtureRequest) -> FederationStack:
    return FederationStack(request.param, "memory", {})


@pytest.fixture
def drive(session: QuietSession) -> Any:
    """Run a workload and return what came of it."""

    async def run(kind: str, stack: FederationStack, **params: Any) -> Outcome:
        return await create_workload(kind, params).run(stack, session)

    return run


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many timings of a floor count: one number for each workload that is driven."""
    counts: list[int] = []

    def against(times_ns: list[int], latency: Histogram, reference_ns: list[int]) -> dict[str, float]:
        counts.append(len(times_ns))
        return against_floor(times_ns, latency, reference_ns)

    for module in (transfers, training):
        monkeypatch.setattr(module, "against_floor", against)
    return counts


@pytest.fixture
def tapped() -> type[TappedStack]:
    return TappedStack


def plus(model: ModelState, number: float) -> ModelState:
    return ModelState.from_arrays(
        {name: array + array.dtype.type(number) for name, array in model.items()}, model.version
    )


@pytest.fixture
def shifted() -> Any:
    return plus
