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

    def block_done(self, block: int, decided: int, of: int, left_s: float) -> None:
        """A block has ended: how many criteria are decided, and what the rest takes at most, as planned."""
        ...

    def notice(self, text: str) -> None:
        """Something happened that is no observation."""
        ...
