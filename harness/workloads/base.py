"""Workload: what a stack is driven with, and the session in which it is measured."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from fedbench.tensors.model import ModelState
    from harness.records.derive import Outcome
    from harness.stacks.base import FederationSpec, Stack

LEARNERS = "harness.workloads.learners"
SETUP_S = 0.05
CROWD_CLIENT_S = 2e-3
"""About how long a client that shares its process takes to come, to be asked once and to go, in seconds."""
USUAL_POLL_S = {"memory": 0.001, "process": 0.010, "network": 0.010}
"""Seconds between two looks of the polling architecture by mode, unless its settings say otherwise."""


FLOOR_WITHIN = "its window holds the floor, too"
"""Why CPU, wake-ups and rates are not measured where a floor is timed between the operations."""


class Session(Protocol):
    """The measuring side, as a workload sees it."""

    def measured(self, *, memory: bool = False, densely: bool = False) -> AbstractAsyncContextManager[None]:
        """Have everything within measured from outside; of several times in a workload, the last counts.

        Args:
            memory: Whether to sample memory until the end.
            densely: Whether to sample it every 50 ms at least, though that may take more than a hundredth of
                a core: for what is measured for its memory alone.
        """
        ...

    async def hold(self, seconds: float) -> None:
        """Do nothing for a while that the other side times."""
        ...

    async def sample_memory(self) -> None:
        """Have memory sampled now."""
        ...

    def keep_warnings(self) -> None:
        """Keep the texts of records from WARNING on, from now on."""
        ...

    def warnings_naming(self, node_id: str) -> int:
        """Return how many of the kept records name a node, timeouts of polling aside."""
        ...


class Workload(ABC):
    """One thing to do with a stack. Checks every answer itself.

    Args:
        params: Values for every name in :attr:`defaults`.

    Attributes:
        kind: Its name in suites.
        defaults: Its parameters; the types of the values are the types of the parameters.
    """

    kind: ClassVar[str]
    defaults: ClassVar[Mapping[str, Any]]

    def __init__(self, params: Mapping[str, Any]) -> None:
        self.params = {**self.defaults, **params}

    @abstractmethod
    def expected_s(self, *, poll_s: float) -> float:
        """Return about how long it takes, in seconds.

        Args:
            poll_s: Seconds between two looks of a stack that polls, 0 for one that does not.
        """

    @abstractmethod
    async def run(self, stack: Stack, session: Session) -> Outcome:
        """Drive ``stack``, which is not started yet, and return what came of it.

        Raises:
            Unsupported: The stack cannot do this.
        """


@asynccontextmanager
async def running(stack: Stack, spec: FederationSpec) -> AsyncIterator[None]:
    """Start a federation and stop it at the end."""
    await stack.start(spec)
    try:
        yield
    finally:
        await stack.stop()


def digest(model: ModelState) -> str:
    """Return a SHA-256 over names, shapes, dtypes and bytes of a model's arrays, in order."""
    sha = hashlib.sha256()
    for name, array in model.items():
        sha.update(f"{name} {array.shape} {array.dtype.str}\n".encode())
        sha.update(array.tobytes())
    return sha.hexdigest()


def failures(outcomes: Mapping[str, Exception | None]) -> list[str]:
    """Return one line for each client that a broadcast did not reach."""
    return [f"{client_id}: {error}" for client_id, error in outcomes.items() if error is not None]
