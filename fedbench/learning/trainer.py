"""FedAvgTrainer: rounds of federated averaging over whatever answers ``train``."""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from fedbench.clock import Clock, LoopClock
from fedbench.errors import QuorumNotReached
from fedbench.learning.collection import Collection, RemoteLearner
from fedbench.tensors.model import ModelState
from fedbench.values import History, RoundInfo, RoundPhases, RoundRecord

Evaluate = Callable[[ModelState], Awaitable[Mapping[str, float]] | Mapping[str, float]]
Publish = Callable[[ModelState], Awaitable[Mapping[str, Exception | None]]]


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

    Attributes:
        deadline_s: As given.

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
        self.deadline_s = deadline_s
        self._clock = clock or LoopClock()
        self._ids: dict[int, str] = {}
        self._absent: set[str] = set()

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

        Each selected client that gives no update leaves one WARNING; the round goes on without it. Of one
        that is not connected, and was not in the last round that it was selected for, nothing more is said.

        Args:
            learners: The clients that are connected.
            model: The global model.
            number: Number of the round, from 1.
            count: As for :meth:`train`.
            seed: As for :meth:`train`.
            publish: As for :meth:`train`; its time is part of the round's.

        Returns:
            The new model and the round's record.

        Raises:
            ValueError: Two learners have the same index.
        """
        started_ns = self._clock.now_ns()
        selected, round_seed = draw_round(seed, number, count, self._fraction)
        connected = _by_index(learners)
        self._ids.update((index, learner.client_id) for index, learner in connected.items())
        ids = [self._ids.get(index, f"client[{index}]") for index in selected]
        info = RoundInfo(number, self._rounds, round_seed)
        collection = Collection(model, info, ids, self.deadline_s, self._absent)
        try:
            await collection.collect([connected.get(index) for index in selected], self._clock)
            required = max(1, math.ceil(self._quorum * len(selected) - 1e-9))  # 0.1 * 30 is above 3
            if len(collection.results) < required:
                raise QuorumNotReached(number, len(collection.results), required, collection.failures_by_id())
            collected_ns = self._clock.now_ns()
            model = await collection.reduction.finish(model.version + 1)
        finally:
            await collection.reduction.close()
        reduced_ns = self._clock.now_ns()
        if publish is not None:
            await publish(model)
        marks_ns = started_ns, collection.asked_ns, collected_ns, reduced_ns, self._clock.now_ns()
        return model, collection.record(_phases(marks_ns), model.version)


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
    round_seed = int(for_clients.generate_state(1)[0])
    if size == count:
        return list(range(count)), round_seed
    drawn = np.random.default_rng(for_selection).choice(count, size, replace=False)
    return sorted(drawn.tolist()), round_seed


def _phases(marks_ns: Sequence[int]) -> RoundPhases:
    """Return the phases between five points in time."""
    return RoundPhases(*((after - before) / 1e9 for before, after in itertools.pairwise(marks_ns)))


def _by_index(learners: Sequence[RemoteLearner]) -> dict[int, RemoteLearner]:
    found: dict[int, RemoteLearner] = {}
    for learner in learners:
        other = found.setdefault(learner.index, learner)
        if other is not learner:
            raise ValueError(
                f"{other.client_id} and {learner.client_id} both have index {learner.index}: "
                "indices must differ"
            )
    return found
