"""Plain values that learners, trainers and users exchange."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from fedbench.tensors.model import ModelState


@dataclass(frozen=True, slots=True)
class ClientInfo:
    """Who a learner is.

    Attributes:
        id: Node id of the client.
        index: Position in the configuration, from 0; seeds and reduction order depend on it, never on the id.
        count: Number of clients in the federation.
        seed: The federation's seed.
    """

    id: str
    index: int
    count: int
    seed: int


class RoundInfo(msgspec.Struct, frozen=True):
    """What a client is told about the round it trains in.

    Attributes:
        number: Number of the round, from 1.
        total: Rounds planned.
        seed: Seed of this round, the same for every client; mix it with the client's index.
    """

    number: int
    total: int
    seed: int


class TrainResult(msgspec.Struct, frozen=True):
    """What a client's training returns.

    Attributes:
        model: The updated model, with the same names, shapes and dtypes as the one handed in.
        num_examples: Examples it was trained on, the weight of this update; at least 1.
        metrics: Metrics by name.
    """

    model: ModelState
    num_examples: int
    metrics: dict[str, float] = {}

    def __post_init__(self) -> None:
        if self.num_examples < 1:
            raise ValueError(f"num_examples is {self.num_examples}: an update needs at least 1 example")


@dataclass(frozen=True, slots=True)
class RoundPhases:
    """What a round spent its time on, one after the other; together they are its ``round_s``.

    Attributes:
        ask_s: Until every selected client was asked: drawing them and handing over the questions.
        collect_s: From there until every answer had come and was added to the mean, or the deadline passed.
        reduce_s: Finishing the mean.
        publish_s: Handing out the new model, or noting that the next round's questions will.
    """

    ask_s: float
    collect_s: float
    reduce_s: float
    publish_s: float


@dataclass(frozen=True, slots=True)
class RoundRecord:
    """How one round ended.

    Attributes:
        number: Number of the round, from 1.
        selected: Ids of the clients that were asked, in index order.
        arrived: Ids of the clients whose update was used, in index order.
        failures: Client id to why it gave no update, for the selected clients that gave none.
        num_examples: Sum of the examples behind the used updates.
        metrics: Example-weighted means of the clients' metrics, then the server's evaluation.
        round_s: Wall time of the round in seconds.
        model_version: Version of the model the round produced.
        phases: What that time was spent on.
    """

    number: int
    selected: tuple[str, ...]
    arrived: tuple[str, ...]
    failures: dict[str, str]
    num_examples: int
    metrics: dict[str, float]
    round_s: float
    model_version: int
    phases: RoundPhases


@dataclass(frozen=True, slots=True)
class History:
    """What a federation leaves behind.

    Attributes:
        rounds: One record a round, in order.
        model: The final global model.
        metrics: Metrics of the last round.
    """

    rounds: tuple[RoundRecord, ...]
    model: ModelState
    metrics: dict[str, float]


def round_to_body(round_info: RoundInfo, *, pushed: bool = False) -> dict[str, int]:
    """Return a round as plain data.

    Args:
        round_info: The round.
        pushed: Whether the model that goes with it is handed out with it, as by a push before.
    """
    body = {"number": round_info.number, "total": round_info.total, "seed": round_info.seed}
    return {**body, "pushed": 1} if pushed else body


def is_pushed(body: Any) -> bool:
    """Return whether a call hands out the model that it carries; see :func:`round_to_body`."""
    return type(body) is dict and body.get("pushed") == 1


def round_from_body(body: Any) -> RoundInfo:
    """Return the round that :func:`round_to_body` described.

    Raises:
        ValueError: ``body`` does not describe a round.
    """
    try:
        return RoundInfo(int(body["number"]), int(body["total"]), int(body["seed"]))
    except (TypeError, KeyError, ValueError, OverflowError) as error:
        raise ValueError(f"{body!r} does not describe a round: number, total and seed are needed") from error


def result_to_body(num_examples: int, metrics: dict[str, float]) -> dict[str, Any]:
    """Return a training result without its model as plain data."""
    return {"num_examples": num_examples, "metrics": metrics}


def result_from_body(body: Any, model: ModelState | None) -> TrainResult:
    """Return the training result that :func:`result_to_body` described.

    Raises:
        ValueError: ``body`` does not describe a result, or the model is missing.
    """
    if model is None:
        raise ValueError("a training result came without a model")
    try:
        metrics = {str(name): float(value) for name, value in body["metrics"].items()}
        num_examples = int(body["num_examples"])
    except (TypeError, KeyError, AttributeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"{body!r} does not describe a training result: num_examples and metrics are needed"
        ) from error
    return TrainResult(model, num_examples, metrics)
