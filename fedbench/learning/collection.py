"""Collection: the updates of one round, from the first question to the last answer."""

from __future__ import annotations

import asyncio
import functools
import logging
from typing import TYPE_CHECKING, Protocol

from fedbench.errors import FedbenchError
from fedbench.learning.reduction import Reduction
from fedbench.values import RoundInfo, RoundPhases, RoundRecord, TrainResult

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping, Sequence

    from fedbench.clock import Clock
    from fedbench.tensors.model import ModelState

log = logging.getLogger("fedbench.learning")


class RemoteLearner(Protocol):
    """A client's learner as the trainer sees it.

    Attributes:
        client_id: Id of the client.
        index: Its position in the configuration, from 0.
    """

    client_id: str
    index: int

    def begin_train(
        self, model: ModelState, round_info: RoundInfo, *, deadline_s: float | None = None
    ) -> Awaitable[TrainResult]:
        """Begin to train on ``model``; await the update. Cancelling must end the call soon."""
        ...

    async def evaluate(self, model: ModelState, *, deadline_s: float | None = None) -> dict[str, float]:
        """Return metrics of ``model`` by name."""
        ...


class Collection:
    """The updates of one round under way; a position is a selected client's place in index order.

    Args:
        model: The global model.
        round_info: Which round it is.
        ids: Ids of the selected clients by position.
        deadline_s: Seconds after which no update counts.
        absent: Ids of clients of whom was warned that they are not connected; kept up to date.

    Attributes:
        reduction: The mean of the updates so far.
        results: Number of examples and metrics of the updates so far, by position.
        asked_ns: When the last of them was asked, by the clock; 0 before.
    """

    def __init__(
        self,
        model: ModelState,
        round_info: RoundInfo,
        ids: Sequence[str],
        deadline_s: float,
        absent: set[str],
    ) -> None:
        self.reduction = Reduction(model, len(ids))
        self.results: dict[int, tuple[int, Mapping[str, float]]] = {}
        self.asked_ns = 0
        self._failures: dict[int, str] = {}
        self._model = model
        self._round_info = round_info
        self._ids = ids
        self._deadline_s = deadline_s
        self._absent = absent
        self._expired = False
        self._calls: set[asyncio.Future[TrainResult]] = set()  # one that has ended would keep its update
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def collect(self, learners: Sequence[RemoteLearner | None], clock: Clock) -> None:
        """Ask every position's learner (None is not connected) at once; return when all have ended."""
        timer = clock.call_later(self._deadline_s, self._expire)
        try:
            for position, learner in enumerate(learners):
                if learner is None:
                    self._miss(position)
                else:
                    self._absent.discard(self._ids[position])
                    self._ask(position, learner)
            self.asked_ns = clock.now_ns()
            if self._calls:
                await self._over
        finally:
            timer.cancel()
            late = list(self._calls)
            for call in late:
                call.cancel()
            await asyncio.gather(*late, return_exceptions=True)
            await self.reduction.settled()
        reason = f"no update within {self._deadline_s:g} s" if self._expired else "its call was cancelled"
        for position in range(len(learners)):
            if position not in self.results and position not in self._failures:
                self._fail(position, reason)

    def failures_by_id(self) -> dict[str, str]:
        """Return why clients gave no update, by id, in index order."""
        return {self._ids[position]: self._failures[position] for position in sorted(self._failures)}

    def record(self, phases: RoundPhases, model_version: int) -> RoundRecord:
        """Describe the round."""
        return RoundRecord(
            number=self._round_info.number,
            selected=tuple(self._ids),
            arrived=tuple(self._ids[position] for position in sorted(self.results)),
            failures=self.failures_by_id(),
            num_examples=sum(num_examples for num_examples, _ in self.results.values()),
            metrics=_weighted_means([self.results[position] for position in sorted(self.results)]),
            round_s=phases.ask_s + phases.collect_s + phases.reduce_s + phases.publish_s,
            model_version=model_version,
            phases=phases,
        )

    def _miss(self, position: int) -> None:
        client_id = self._ids[position]
        self._fail(position, "not connected", logging.DEBUG if client_id in self._absent else logging.WARNING)
        self._absent.add(client_id)

    def _ask(self, position: int, learner: RemoteLearner) -> None:
        try:
            training = learner.begin_train(self._model, self._round_info, deadline_s=self._deadline_s)
            call = asyncio.ensure_future(training)  # a call that is a future needs no task
        except Exception as error:
            self._fail(position, _reason(error))
            return
        self._calls.add(call)
        call.add_done_callback(functools.partial(self._ended, position))

    def _ended(self, position: int, call: asyncio.Future[TrainResult]) -> None:
        self._calls.discard(call)
        failed = None if call.cancelled() else call.exception()
        if isinstance(failed, Exception):  # not raised here: its traceback would keep the round's model
            self._fail(position, _reason(failed))
        elif not call.cancelled():
            self._take(position, call.result())
        if not self._calls:
            self._end()

    def _take(self, position: int, result: TrainResult) -> None:
        try:
            self.reduction.add(position, result.model, result.num_examples)
            self.results[position] = (result.num_examples, result.metrics)
        except Exception as error:
            self._fail(position, _reason(error))

    def _fail(self, position: int, reason: str, level: int = logging.WARNING) -> None:
        self._failures[position] = reason
        self.reduction.skip(position)
        text = "round %d: %s gave no update: %s"
        log.log(level, text, self._round_info.number, self._ids[position], reason)

    def _expire(self) -> None:
        self._expired = True
        self._end()

    def _end(self) -> None:
        if not self._over.done():
            self._over.set_result(None)


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, FedbenchError) else f"{type(error).__name__}: {error}"


def _weighted_means(results: Sequence[tuple[int, Mapping[str, float]]]) -> dict[str, float]:
    """Return the mean of each metric over the clients that report it, weighted by their examples."""
    sums: dict[str, tuple[float, int]] = {}
    for num_examples, metrics in results:
        for name, value in metrics.items():
            total, weight = sums.get(name, (0.0, 0))
            sums[name] = (total + num_examples * value, weight + num_examples)
    return {name: total / weight for name, (total, weight) in sums.items()}
