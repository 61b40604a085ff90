"""How child processes are started and brought back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

StartMethod = Literal["forkserver", "spawn"]
Restart = Literal["never", "on_failure"]

START_METHODS: tuple[StartMethod, ...] = get_args(StartMethod)
RESTARTS: tuple[Restart, ...] = get_args(Restart)


@dataclass(frozen=True, slots=True)
class FleetSettings:
    """How child processes are started and brought back.

    Attributes:
        start_method: ``forkserver`` forks them from a process that has imported everything; ``spawn`` starts
            each from nothing, which takes longer and more memory.
        restart: Whether one that ends by a signal or with an exit code other than 0 is started again.
        max_restarts: Most restarts of one child.
    """

    start_method: StartMethod = "forkserver"
    restart: Restart = "never"
    max_restarts: int = 3
