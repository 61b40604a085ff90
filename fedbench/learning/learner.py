"""Learner: what a client does with a model. Subclass it."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from fedbench.tensors.model import ModelState
    from fedbench.values import ClientInfo, RoundInfo, TrainResult

REGISTERED: Mapping[str, str] = {"SimpleLearner": "fedbench.learning.simple:SimpleLearner"}
"""Learners that a configuration can name without their module."""


class Learner(ABC):
    """What a client does with a model.

    Every method may be ``def``, which runs in the node's one worker thread so that it never stops the event
    loop, or ``async def``, which runs in the loop and must not block it. Methods of one learner written as
    ``def`` never run at the same time.

    Args:
        client: Who it is; on the server's side an instance with index -1 makes the initial model and evaluates.
        **args: What the configuration gives it.

    Attributes:
        client: As given.
    """

    def __init__(self, client: ClientInfo, **args: Any) -> None:
        if args:
            raise TypeError(f"{type(self).__name__} takes no arguments, found {', '.join(args)}")
        self.client = client

    @abstractmethod
    def initial_model(self) -> ModelState | Awaitable[ModelState]:
        """Return the model that training starts from; called on the server's side, the same for the same seed."""

    @abstractmethod
    def train(self, model: ModelState, round_info: RoundInfo) -> TrainResult | Awaitable[TrainResult]:
        """Train on ``model``, which is read-only, and return the update.

        Build it in ``model.draft()`` and ``freeze()`` it: then it is never copied on its way to the server.
        """

    @abstractmethod
    def evaluate(self, model: ModelState) -> dict[str, float] | Awaitable[dict[str, float]]:
        """Return metrics of ``model`` by name."""

    def on_model_update(self, model: ModelState, version: int) -> Awaitable[None] | None:
        """Take a newer global model that the server pushed; by default nothing happens."""
        return None

    def on_event(self, event_type: str, data: Any) -> Awaitable[None] | None:
        """Take a notification from the server; by default nothing happens."""
        return None


def resolve_learner(name: str) -> type[Learner]:
    """Return the learner of a registered name or of ``module:Class``.

    Raises:
        ValueError: There is no such learner; the message says what is missing.
    """
    path = REGISTERED.get(name, name)
    module_name, colon, class_name = path.partition(":")
    if not colon:
        known = ", ".join(REGISTERED)
        raise ValueError(f"unknown learner {name!r}: use a registered name ({known}) or module:Class")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ValueError(
            f"learner {name!r}: the module {module_name!r} cannot be imported: {error}"
        ) from error
    learner = getattr(module, class_name, None)
    if not isinstance(learner, type) or not issubclass(learner, Learner):
        raise ValueError(f"learner {name!r}: {module_name!r} has no class {class_name!r} that is a Learner")
    return learner
