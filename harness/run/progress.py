"""Who is told how a run goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from harness.records.schema import Observation
    from harness.run.plan import ArmRun


class Progress(Protocol):
    """Who is told how the run goes."""

    def started(self, runs: int, expected_s: float) -> None:
        """The run begins: ``runs`` workers up to the first look, about ``expected_s`` seconds."""
        ...

    def arm(self, arm_run: ArmRun) -> None:
        """A worker starts."""
        ...

    def cell(self, name: str) -> None:
        """A workload begins."""
        ...

    def observed(self, observation: Observation) -> None:
        """A workload has ended."""
        ...

    def arm_done(self, arm_run: ArmRun) -> None:
        """A worker has ended."""
        ...

    def left(self, runs: int, left_s: float) -> None:
        """So many workers are still planned, for about ``left_s`` seconds at the speed of this machine."""
        ...

    def decided(self, block: int, decided: int, criteria: int) -> None:
        """A block has ended, after which ``decided`` of so many criteria have passed or failed."""
        ...
