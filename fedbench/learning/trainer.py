"""FedAvgTrainer: rounds of federated averaging over whatever answers ``train``."""

from __future__ import annotations

import asyncio
import inspect
import logging
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from fedbench.clock import Clock, LoopClock
from fedbench.errors import FedbenchError, QuorumNotReached
from fedbench.learning.aggregation import StreamingAverage
from fedbench.tensors.model import ModelState
from fedbench.values import History, RoundInfo, RoundRecord, TrainResult

log = logging.getLogger("fedbench.learning")

Evaluate = Callable[[ModelState], Awaitable[Mapping[str, float]] | Mapping[str, float]]
Publish = Callable[[ModelState], Awaitable[Mapping[str, Exception | None]]]


class RemoteLearner(Protocol):
    """A client's learner as the trainer sees it.

    Attributes:
        client_id: Id of the client.
        index: Its position in the configuration, from 0.
    """

    client_id: str
    index: int

    async def train(
        self, model: ModelState, round_info: RoundInfo, *, deadline_s: float | None = None
    ) -> TrainResult:
        """Train on ``model`` and return the update. Cancelling must end the call soon."""
        ...

    async def evaluate(self, model: ModelState, *, deadline_s: float | None = None) -> dict[str, float]:
        """Return metrics of ``model`` by name."""
        ...


class FedAvgTrainer:
    """Trains round by round: select, train at once, average in fixed order, publish.

    What comes out depends on the initial model, the seed, the clients' indices and their updates, never on
    ids, speed or the order of arrival.

    Args:
        rounds: Rounds to train, at least 1.
        fraction: Share of the clients selected for a round, above 0 and at most 1; at least one is.
        quorum: Share of the selected clients whose updates a round needs, above 0 and at most 1.
        deadline_s: Seconds from the start of a round after which no update counts, above 0.
        clock: Whose time that is; by default the event loop's.

    Raises:
        ValueError: An argument is out of its range.
    """

    def __init__(
        self,
        rounds: int = 20,
        fraction: float = 1.0,
        quorum: float = 1.0,
        deadline_s: float = 30.0,
        *,
        clock: Clock | None = None,
    ) -> None:
        if rounds < 1:
            raise ValueError(f"rounds is {rounds}: it must be at least 1")
        for name, share in (("fraction", fraction), ("quorum", quorum)):
            if not 0 < share <= 1:
                raise ValueError(f"{name} is {share}: it must be above 0 and at most 1")
        if not 0 < deadline_s < math.inf:
            raise ValueError(f"deadline_s is {deadline_s}: it must be finite and above 0")
        self._rounds = rounds
        self._fraction = fraction
        self._quorum = quorum
        self._deadline_s = deadline_s
        self._clock = clock or LoopClock()
        self._ids: dict[int, str] = {}

    async def train(  # noqa: PLR0913  # the three hooks are the caller's and independent of each other
        self,
        learners: Callable[[], Sequence[RemoteLearner]],
        initial_model: ModelState,
        *,
        count: int,
        seed: int,
        evaluate: Evaluate | None = None,
        publish: Publish | None = None,
        on_round: Callable[[RoundRecord], None] | None = None,
    ) -> History:
        """Train all rounds.

        Args:
            learners: Returns the clients that are connected now; called once a round.
            initial_model: Where training starts; each round's model has the next version.
            count: Clients in the federation, connected or not, at least 1.
            seed: The federation's seed, not negative.
            evaluate: Returns the server's metrics of a new model; they replace clients' of the same name.
            publish: Hands a new model to every client before the next round; it reports failures itself.
            on_round: Called with the record of every round as it ends.

        Raises:
            ValueError: ``count`` or ``seed`` is out of its range.
            QuorumNotReached: A round got too few updates.
            Exception: Whatever a hook raises.

        Cancellation: every call to a client is cancelled and has ended when this ends.
        """
        model, records = initial_model, []
        for number in range(1, self._rounds + 1):
            model, record = await self.train_round(
                learners(), model, number, count=count, seed=seed, publish=publish
            )
            if evaluate is not None:
                metrics = evaluate(model)
                if inspect.isawaitable(metrics):
                    metrics = await metrics
                record = replace(record, metrics={**record.metrics, **metrics})
            records.append(record)
            if on_round is not None:
                on_round(record)
        return History(tuple(records), model, dict(records[-1].metrics))

    async def train_round(
        self,
        learners: Sequence[RemoteLearner],
        model: ModelState,
        number: int,
        *,
        count: int,
        seed: int,
        publish: Publish | None = None,
    ) -> tuple[ModelState, RoundRecord]:
        """Train one round, as :meth:`train` does, without the server's evaluation.

        Each selected client that gives no update leaves one WARNING; the round goes on without it.

        Args:
            learners: The clients that are connected.
            model: The global model.
            number: Number of the round, from 1.
            count: As for :meth:`train`.
            seed: As for :meth:`train`.
            publish: As for :meth:`train`; its time is part of the round's.

        Returns:
            The new model and the round's record.
        """
        started_ns = self._clock.now_ns()
        selected, round_seed = draw_round(seed, number, count, self._fraction)
        connected = {learner.index: learner for learner in learners}
        self._ids.update((index, learner.client_id) for index, learner in connected.items())
        ids = [self._ids.get(index, f"client[{index}]") for index in selected]
        collection = _Collection(model, RoundInfo(number, self._rounds, round_seed), ids, self._deadline_s)
        await collection.collect([connected.get(index) for index in selected], self._clock)
        required = max(1, math.ceil(self._quorum * len(selected) - 1e-9))  # 0.1 * 30 is above 3
        if len(collection.results) < required:
            raise QuorumNotReached(number, len(collection.results), required, collection.failures_by_id())
        model = collection.average.finish(model.version + 1)
        if publish is not None:
            await publish(model)
        return model, collection.record((self._clock.now_ns() - started_ns) / 1e9, model.version)


def draw_round(seed: int, number: int, count: int, fraction: float) -> tuple[list[int], int]:
    """Draw which clients take part in a round, and the round's seed.

    Args:
        seed: The federation's seed, not negative.
        number: Number of the round, from 1.
        count: Clients in the federation, at least 1.
        fraction: Share of them to select, above 0 and at most 1.

    Returns:
        ``max(1, round(fraction * count))`` distinct indices, ascending, and a seed below 2**32.

    Raises:
        ValueError: ``seed`` or ``count`` is out of its range.
    """
    if seed < 0:
        raise ValueError(f"seed is {seed}: it must not be negative")
    if count < 1:
        raise ValueError(f"count is {count}: it must be at least 1")
    for_selection, for_clients = np.random.SeedSequence([seed, number]).spawn(2)
    size = max(1, round(fraction * count))
    drawn = np.random.default_rng(for_selection).choice(count, size, replace=False)
    return sorted(drawn.tolist()), int(for_clients.generate_state(1)[0])


class _Collection:
    """The updates of one round under way; a position is a selected client's place in index order."""

    def __init__(
        self, model: ModelState, round_info: RoundInfo, ids: Sequence[str], deadline_s: float
    ) -> None:
        self.average = StreamingAverage(model, len(ids))
        self.results: dict[int, tuple[int, Mapping[str, float]]] = {}
        self._failures: dict[int, str] = {}
        self._model = model
        self._round_info = round_info
        self._ids = ids
        self._deadline_s = deadline_s
        self._expired = False
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def collect(self, learners: Sequence[RemoteLearner | None], clock: Clock) -> None:
        """Ask every position's learner (None is not connected) at once; return when all have ended."""
        timer = clock.call_later(self._deadline_s, self._expire)
        loop = asyncio.get_running_loop()
        tasks: set[asyncio.Task[None]] = set()
        open_tasks = 0

        def ended(_: asyncio.Task[None]) -> None:
            nonlocal open_tasks
            open_tasks -= 1
            if not open_tasks:
                self._end()

        try:
            for position, learner in enumerate(learners):
                if learner is None:
                    self._fail(position, "not connected")
                    continue
                task = loop.create_task(self._ask(position, learner))
                task.add_done_callback(ended)
                tasks.add(task)
                open_tasks += 1
            if tasks:
                await self._over
        finally:
            timer.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        reason = f"no update within {self._deadline_s:g} s" if self._expired else "its call was cancelled"
        for position in range(len(learners)):
            if position not in self.results and position not in self._failures:
                self._fail(position, reason)

    def failures_by_id(self) -> dict[str, str]:
        """Return why clients gave no update, by id, in index order."""
        return {self._ids[position]: self._failures[position] for position in sorted(self._failures)}

    def record(self, round_s: float, model_version: int) -> RoundRecord:
        """Describe the round."""
        return RoundRecord(
            number=self._round_info.number,
            selected=tuple(self._ids),
            arrived=tuple(self._ids[position] for position in sorted(self.results)),
            failures=self.failures_by_id(),
            num_examples=sum(num_examples for num_examples, _ in self.results.values()),
            metrics=_weighted_means([self.results[position] for position in sorted(self.results)]),
            round_s=round_s,
            model_version=model_version,
        )

    async def _ask(self, position: int, learner: RemoteLearner) -> None:
        try:
            result = await learner.train(self._model, self._round_info, deadline_s=self._deadline_s)
            self.average.add(position, result.model, result.num_examples)
        except Exception as error:
            known = isinstance(error, FedbenchError)
            self._fail(position, str(error) if known else f"{type(error).__name__}: {error}")
        else:
            self.results[position] = (result.num_examples, result.metrics)

    def _fail(self, position: int, reason: str) -> None:
        self._failures[position] = reason
        self.average.skip(position)
        log.warning("round %d: %s gave no update: %s", self._round_info.number, self._ids[position], reason)

    def _expire(self) -> None:
        self._expired = True
        self._end()

    def _end(self) -> None:
        if not self._over.done():
            self._over.set_result(None)


def _weighted_means(results: Sequence[tuple[int, Mapping[str, float]]]) -> dict[str, float]:
    """Return the mean of each metric over the clients that report it, weighted by their examples."""
    sums: dict[str, tuple[float, int]] = {}
    for num_examples, metrics in results:
        for name, value in metrics.items():
            total, weight = sums.get(name, (0.0, 0))
            sums[name] = (total + num_examples * value, weight + num_examples)
    return {name: total / weight for name, (total, weight) in sums.items()}
