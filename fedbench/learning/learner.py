"""Learner: what a client does with a model. Subclass it."""

from __future__ import annotations

import importlib
import inspect
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from fedbench.errors import LocalProtocolError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from fedbench.tensors.model import ModelState
    from fedbench.values import ClientInfo, RoundInfo, TrainResult

REGISTERED: Mapping[str, str] = {"SimpleLearner": "fedbench.learning.simple:SimpleLearner"}
"""Learners that a configuration can name without their module."""


class Learner(ABC):
    """What a client does with a model.

    Every method may be ``def``, which runs in the node's one worker thread so that it never stops the event
    loop, or ``async def``, which runs in the loop and must not block it. Methods of one learner written as
    ``def`` never run at the same time. ``__init__`` runs in the loop: load data when it is first needed.

    Args:
        client: Who it is; on the server's side an instance with index -1 makes the initial model and
            evaluates.
        **args: What the configuration gives it. A subclass names its own as keyword arguments; any that
            none has taken is an error.

    Attributes:
        client: As given.
        server_notifier: Sends a notification to the server; set by the node, None before it has joined.

    Raises:
        TypeError: There is an argument that the learner does not take.
    """

    server_notifier: Callable[[str, Any], object] | None = None

    def __init__(self, client: ClientInfo, **args: Any) -> None:
        if args:
            raise TypeError(f"{type(self).__name__} does not take the arguments {', '.join(args)}")
        self.client = client

    @abstractmethod
    def initial_model(self) -> ModelState | Awaitable[ModelState]:
        """Return the model that training starts from, the same for the same seed. The server calls this."""

    @abstractmethod
    def train(self, model: ModelState, round_info: RoundInfo) -> TrainResult | Awaitable[TrainResult]:
        """Train on this client's data, starting from ``model``, which is read-only, and return the update.

        Build it in ``model.draft()`` and ``freeze()`` it: then it is never copied on its way to the server.

        Args:
            model: The global model.
            round_info: Which round it is; seed generators with ``(round_info.seed, self.client.index)``.
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

    def notify_server(self, event_type: str, data: Any = None) -> None:
        """Send plain data to the server's handlers of notifications; do not wait. Call it in the event loop.

        Raises:
            LocalProtocolError: The client has not joined a federation, or ``data`` is not plain data.
            TransportError: It cannot be sent now.
        """
        if self.server_notifier is None:
            raise LocalProtocolError(f"{self.client.id} has not joined its server yet: notify it later")
        self.server_notifier(event_type, data)


def resolve_learner(name: str) -> type[Learner]:
    """Return the learner of a registered name or of ``module:Class``. Imports its module.

    Raises:
        ValueError: There is no such name, module or class, the module cannot be imported, or the class is no
            Learner or abstract; the message says which and what to do.
    """
    module_name, _, class_name = REGISTERED.get(name, name).partition(":")
    if not (module_name and class_name):
        known = ", ".join(REGISTERED)
        raise ValueError(f"unknown learner {name!r}: use a registered name ({known}) or module:Class")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # whatever a user's module raises while it is imported
        raise ValueError(
            f"learner {name!r}: importing {module_name!r} raised {type(error).__name__}: {error}; "
            "install the module or add its folder to PYTHONPATH"
        ) from error
    learner = getattr(module, class_name, None)
    if learner is None:
        raise ValueError(f"learner {name!r}: {module_name!r} has no {class_name!r}; check how it is spelt")
    if not (isinstance(learner, type) and issubclass(learner, Learner)):
        raise ValueError(f"learner {name!r} is no Learner: derive the class from fedbench.Learner")
    if inspect.isabstract(learner):
        missing = ", ".join(sorted(learner.__abstractmethods__))
        raise ValueError(f"learner {name!r} is abstract: write its methods {missing}")
    return learner
