"""What the measuring parent and the measured worker say to each other: one JSON line a message, on two pipes.

The worker speaks; to every :class:`Begin`, :class:`Hold`, :class:`Sample` and :class:`End` the parent answers
:data:`GO` when it has done its part, and the worker waits for that.
"""

from __future__ import annotations

from typing import Any

import msgspec

from harness.records.derive import Outcome
from harness.records.schema import Status

GO = b"go\n"


class CellJob(msgspec.Struct, frozen=True):
    """One workload to run."""

    workload: str
    kind: str
    params: dict[str, Any]


class Job(msgspec.Struct, frozen=True):
    """What one worker has to do: one arm, one or more workloads in order. ``profiled``: py-spy looks in."""

    arm: str
    stack: str
    mode: str
    loop: str
    settings: dict[str, Any]
    cells: list[CellJob]
    profiled: bool = False


class Cell(msgspec.Struct, frozen=True, tag="cell"):
    """The worker begins with a workload."""

    workload: str


class Begin(msgspec.Struct, frozen=True, tag="begin"):
    """Start the probes. ``memory``: sample memory until the end; ``densely``: whatever that costs."""

    memory: bool = False
    densely: bool = False


class Hold(msgspec.Struct, frozen=True, tag="hold"):
    """Wait for ``seconds`` before the answer; the worker does nothing meanwhile."""

    seconds: float


class Sample(msgspec.Struct, frozen=True, tag="sample"):
    """Sample memory now: the worker holds its peak."""


class End(msgspec.Struct, frozen=True, tag="end"):
    """Stop the probes."""


class Finished(msgspec.Struct, frozen=True, tag="finished"):
    """A workload has ended."""

    workload: str
    status: Status
    reasons: list[str]
    outcome: Outcome


Event = Cell | Begin | Hold | Sample | End | Finished

encoder = msgspec.json.Encoder()
job_decoder = msgspec.json.Decoder(Job)
event_decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)


def encode(message: Job | Event) -> bytes:
    """Return a message as one line."""
    return encoder.encode(message) + b"\n"
