"""Learners that cost nothing of their own, so that what is measured is communication."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from fedbench.learning.learner import Learner
from fedbench.tensors.model import ModelState
from fedbench.values import ClientInfo, RoundInfo, TrainResult
from harness.workloads.arrivals import Arrivals
from harness.workloads.barrier import arrive
from harness.workloads.completion import report

if TYPE_CHECKING:
    from collections.abc import Sequence


class EchoLearner(Learner):
    """Returns the model it is given and remembers the events it was sent. Zero compute.

    Args:
        client: Who it is.
        model_bytes: Size of its model in bytes, a multiple of 4; values are whole numbers, so that averages
            of equal models are exact.

    Attributes:
        events: ``(begun_ns, data)`` of every event, in the order in which their handling began.
    """

    def __init__(self, client: ClientInfo, *, model_bytes: int = 4096) -> None:
        super().__init__(client)
        self._values = max(model_bytes // 4, 1)
        self.events: list[tuple[int, Any]] = []

    async def initial_model(self) -> ModelState:
        """Return the whole numbers 0, 1, 2 … modulo 251 as float32, shape (model_bytes / 4,)."""
        return ModelState.from_arrays({"values": (np.arange(self._values) % 251).astype(np.float32)})

    async def train(self, model: ModelState, round_info: RoundInfo) -> TrainResult:
        """Return the model as it is, weight 1."""
        return TrainResult(model, 1)

    async def evaluate(self, model: ModelState) -> dict[str, float]:
        """Return nothing."""
        return {}

    async def on_event(self, event_type: str, data: Any) -> None:
        """Remember the data and when it was handled."""
        self.events.append((time.monotonic_ns(), data))

    async def collected(self) -> list[tuple[int, Any]]:
        """Return the events so far."""
        return self.events


class ReportingLearner(EchoLearner):
    """Reports when it has handled as many events as it is sent; see :mod:`harness.workloads.completion`.

    Args:
        client: Who it is.
        model_bytes: As for :class:`EchoLearner`.
        expected: How many events each client is sent, by its index.
        done: Where it reports; empty for nowhere.
        handler_s: Seconds for which the handler of an event waits, once it has noted when it began.
    """

    def __init__(
        self,
        client: ClientInfo,
        *,
        model_bytes: int = 4096,
        expected: Sequence[int] = (),
        done: str = "",
        handler_s: float = 0.0,
    ) -> None:
        super().__init__(client, model_bytes=model_bytes)
        self._left = expected[client.index] if expected else 0
        self._done = done
        self._handler_s = handler_s

    async def on_event(self, event_type: str, data: Any) -> None:
        """Remember the data and when its handling began, and report behind the last one."""
        await super().on_event(event_type, data)
        if self._handler_s:
            await asyncio.sleep(self._handler_s)
        self._left -= 1
        if self._left == 0 and self._done:
            report(self._done)


class WatchingLearner(EchoLearner):
    """Looks at every model that it is handed.

    Attributes:
        versions: Versions of the models, in order.
        ends: First and last value of each of them.
    """

    def __init__(self, client: ClientInfo, *, model_bytes: int = 4096) -> None:
        super().__init__(client, model_bytes=model_bytes)
        self.versions: list[int] = []
        self.ends: list[tuple[float, float]] = []

    async def on_model_update(self, model: ModelState, version: int) -> None:
        """Remember the version, and the ends of the model."""
        self.versions.append(version)
        values = model["values"]
        self.ends.append((float(values[0]), float(values[-1])))

    async def applied(self) -> dict[str, Any]:
        """Return the versions and ends of the models so far."""
        return {"versions": self.versions, "ends": self.ends}


class HoldingLearner(EchoLearner):
    """Holds a model that it has made, until it makes the next."""

    def __init__(self, client: ClientInfo, *, model_bytes: int = 4096) -> None:
        super().__init__(client, model_bytes=model_bytes)
        self._made = 0
        self._held: ModelState | None = None

    async def make(self) -> None:
        """Make the next model: every value is its number, from 1."""
        self._made += 1
        values = np.full(self._values, self._made, np.float32)
        self._held = ModelState.from_arrays({"values": values}, self._made)

    async def held(self) -> ModelState | None:
        """Return the model made last."""
        return self._held


class BouncingLearner(EchoLearner):
    """Returns every model that it is called with."""

    async def bounce(self, model: ModelState) -> ModelState:
        """Return the model as it came."""
        return model


class BurstLearner(EchoLearner):
    """Sends a model of its own at the very moment at which all others do.

    Args:
        client: Who it is.
        model_bytes: As for :class:`EchoLearner`.
        barrier: Folder of the barrier at which each waits for the others, its model made.
    """

    def __init__(self, client: ClientInfo, *, model_bytes: int = 4096, barrier: str = "") -> None:
        super().__init__(client, model_bytes=model_bytes)
        self._barrier = barrier
        self._bursts = 0

    async def burst(self) -> ModelState:
        """Return a model whose every value is :func:`burst_value`, once all clients have made theirs."""
        self._bursts += 1
        value = burst_value(self._bursts, self.client.index, self.client.count)
        model = ModelState.from_arrays({"values": np.full(self._values, value, np.float32)}, self._bursts)
        await arrive(self._barrier, self.client.index)
        return model


def burst_value(burst: int, client: int, clients: int) -> int:
    """Return what fills the model that a client (from 0) sends in a burst (from 1): another one each time."""
    return burst * clients + client


class LateLearner(EchoLearner):
    """Answers one of its methods late.

    Args:
        client: Who it is.
        slow_s: Seconds it takes for that.
    """

    def __init__(self, client: ClientInfo, *, slow_s: float = 0.1) -> None:
        super().__init__(client)
        self._slow_s = slow_s

    async def late(self) -> int:
        """Return its index after ``slow_s`` seconds."""
        await asyncio.sleep(self._slow_s)
        return self.client.index


class SlowLearner(EchoLearner):
    """Takes its events one at a time, and slowly while it is told to.

    Args:
        client: Who it is.
        slow_s: Seconds that it takes over one event.
    """

    def __init__(self, client: ClientInfo, *, slow_s: float = 0.05) -> None:
        super().__init__(client)
        self._slow_s = slow_s
        self._turn = asyncio.Lock()
        self._fast = asyncio.Event()
        self._fast.set()

    async def slow(self) -> None:
        """Be slow from now on."""
        self._fast.clear()

    async def hurry(self) -> None:
        """Be slow no more, and return when all events sent before this call have been taken."""
        self._fast.set()
        async with self._turn:  # served in order: everything before is done
            pass

    async def on_event(self, event_type: str, data: Any) -> None:
        """Remember the data and when it was handled, after its time."""
        async with self._turn:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._slow_s):
                    await self._fast.wait()
            await super().on_event(event_type, data)


class CountingLearner(EchoLearner):
    """Counts what it is sent and keeps nothing, so that its memory stays what it is."""

    def __init__(self, client: ClientInfo, *, model_bytes: int = 4096) -> None:
        super().__init__(client, model_bytes=model_bytes)
        self._events = self._models = self._strange = 0

    async def on_event(self, event_type: str, data: Any) -> None:
        """Count an event; its data must be how many came before."""
        self._strange += data != self._events
        self._events += 1

    async def on_model_update(self, model: ModelState, version: int) -> None:
        """Count a model; both ends of it must be its version."""
        values = model["values"]
        self._strange += not (values[0] == values[-1] == version)
        self._models += 1

    async def counts(self) -> list[int]:
        """Return how many events and models came, and how many of them were not what they had to be."""
        return [self._events, self._models, self._strange]


class NotifyingLearner(EchoLearner):
    """Sends notifications to its server at random (Poisson) times of its own."""

    def __init__(self, client: ClientInfo) -> None:
        super().__init__(client)
        self._reporting: asyncio.Task[None] | None = None

    async def report(self, model: ModelState) -> None:
        """Begin to notify the server, and return.

        Args:
            model: ``rate_per_s``, ``count`` and ``seed`` as arrays of one value each.
        """
        rate_per_s, count, seed = (float(model[name][0]) for name in ("rate_per_s", "count", "seed"))
        rng = random.Random(int(seed) + self.client.index)
        self._reporting = asyncio.create_task(self._report(Arrivals(rate_per_s, rng), int(count)))

    async def _report(self, arrivals: Arrivals, count: int) -> None:
        """Send ``[client, number, sent_ns, intended_ns]`` for every arrival, times on the monotonic clock."""
        for number in range(count):
            intended_ns, now_ns = await arrivals.next()
            self.notify_server("report", [self.client.index, number, now_ns, intended_ns])

    async def reported(self) -> bool:
        """Return whether all notifications have been sent.

        Raises:
            Exception: Whatever sending one raised.
        """
        if self._reporting is None or not self._reporting.done():
            return False
        self._reporting.result()
        return True


class DraftLearner(EchoLearner):
    """Builds its update in a draft: the model plus its number, from 1. Next to zero compute.

    The average of all updates of n clients is then the model plus (n + 1) / 2, exactly.

    Args:
        client: Who it is.
        model_bytes: As for :class:`EchoLearner`.
        barrier: Folder of a barrier at which every update waits for those of the others; empty for none.
        train_s: Seconds to wait, without computing, before the update is built, once :meth:`take_time` was
            called: a client whose training runs on a device of its own. In a real federation this is most of
            a round.
    """

    def __init__(
        self, client: ClientInfo, *, model_bytes: int = 4096, barrier: str = "", train_s: float = 0.0
    ) -> None:
        super().__init__(client, model_bytes=model_bytes)
        self._barrier = barrier
        self._train_s = train_s
        self._takes_time = False

    async def take_time(self) -> None:
        """Wait for ``train_s`` in every training from now on."""
        self._takes_time = True

    async def train(self, model: ModelState, round_info: RoundInfo) -> TrainResult:
        """Return the model plus the client's number, built in a draft, weight 1."""
        if self._takes_time:
            await asyncio.sleep(self._train_s)
        draft = model.draft()
        for name, array in model.items():
            np.add(array, self.client.index + 1, out=draft[name])
        update = draft.freeze()
        if self._barrier:
            await arrive(self._barrier, self.client.index)
        return TrainResult(update, 1)


class FaultyLearner(EchoLearner):
    """The first client raises in the first round."""

    async def train(self, model: ModelState, round_info: RoundInfo) -> TrainResult:
        """Return the model as it is, or raise.

        Raises:
            RuntimeError: First client, first round.
        """
        if self.client.index == 0 and round_info.number == 1:
            raise RuntimeError("injected fault")
        return await super().train(model, round_info)
