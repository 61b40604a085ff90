"""Stack: a system under test as the workloads see it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fedbench.tensors.model import ModelState
    from fedbench.values import History, RoundRecord
    from harness.stacks.link import Link


ASK_DEADLINE_S = 60.0
"""Seconds until the answer of a learner's method is worthless, unless told otherwise."""


class Unsupported(Exception):
    """A stack cannot do what a workload asks: the cell counts as unsupported, never as zero."""


@dataclass(frozen=True, slots=True)
class FederationSpec:
    """The federation a workload wants.

    Attributes:
        clients: How many.
        learner: Learner of each client, a registered name or ``module:Class``.
        learner_args: Its arguments.
        trainer_args: Arguments of the trainer.
        methods: Methods of the learner's own that are asked.
        seed: Seed of the federation.
        per_process: Clients that share a process where clients have processes.
        heartbeat_s: Heartbeat of the server in seconds, where there is one; 0 for the usual one.
        link: What lies between clients and server in network mode, None for nothing.

    Raises:
        ValueError: There is no client in a process.
    """

    clients: int
    learner: str
    learner_args: Mapping[str, Any] = field(default_factory=dict)
    trainer_args: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 7
    methods: tuple[str, ...] = ()
    per_process: int = 1
    heartbeat_s: float = 0.0
    link: Link | None = None

    def __post_init__(self) -> None:
        if self.per_process < 1:
            raise ValueError(f"per_process is {self.per_process}: it must be at least 1")


class Stack(Protocol):
    """A system under test. A method that it cannot offer raises :class:`Unsupported`."""

    name: str

    async def start(self, spec: FederationSpec) -> None:
        """Bring a federation up and register its clients."""
        ...

    async def stop(self) -> None:
        """Take it down; idempotent."""
        ...

    async def ask(
        self, client: int, method: str, *, model: ModelState | None = None, deadline_s: float = ASK_DEADLINE_S
    ) -> Any:
        """Return what a method of a client's learner returns, plain data or a model.

        It is called after all that the client was sent before.

        Args:
            client: Which client, from 0.
            method: One of the methods of the specification.
            model: Handed to the method as keyword argument ``model``, unless it is None.
            deadline_s: Seconds until the answer is worthless.

        Raises:
            DeadlineExceeded: No answer came in time.
            RemoteError: The method raised.
        """
        ...

    async def ping(self, client: int, payload: Any, *, deadline_s: float) -> Any:
        """Return ``payload`` after a round trip to the ``client``-th client (from 0)."""
        ...

    def notify(self, client: int, data: Any, *, intended_ns: int) -> None:
        """Hand plain data to the ``client``-th client's ``on_event``; do not wait."""
        ...

    def on_notify(self, handler: Callable[[str, Any], None]) -> None:
        """Call ``handler(event_type, data)`` on the server's side with every notification from a client."""
        ...

    async def place(self, model: ModelState) -> ModelState:
        """Return a model where the server's models lie, so that handing it out copies nothing."""
        ...

    async def broadcast(self, model: ModelState) -> dict[str, Exception | None]:
        """Hand a model to every client and wait until each has applied it."""
        ...

    async def run(
        self,
        *,
        on_round: Callable[[RoundRecord], None] | None = None,
        initial_model: ModelState | None = None,
    ) -> History:
        """Train all rounds."""
        ...

    def lose(self, client: int) -> None:
        """End the ``client``-th client as a crash would."""
        ...

    async def cut(self, for_s: float) -> int:
        """Cut the link of every client for so many seconds; return how many connections that ended.

        Needs a specification with a ``link``.
        """
        ...

    async def floor(self, operation: str, count: int) -> list[int]:
        """Run a floor operation ``count`` times and return each one's time in ns."""
        ...
