"""Workloads by kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.workloads.client_notify import ClientNotify
from harness.workloads.endurance import Soak
from harness.workloads.growth import BroadcastGrowth
from harness.workloads.leak import Leak
from harness.workloads.link_cut import LinkCut
from harness.workloads.messaging import RpcPing
from harness.workloads.notifying import Addressing, PushNotify
from harness.workloads.overhead import ProbeOverhead
from harness.workloads.overload import Overload
from harness.workloads.payloads import FaninBurst, RpcPayload
from harness.workloads.pressure import SlowConsumer, Straggler
from harness.workloads.resting import Floor, IdleFederation, ImportTime
from harness.workloads.scaling import Crowd, MemorySlope, Startup
from harness.workloads.training import DigitsTraining, FaultLogs, FedAvgRound, MemoryRound
from harness.workloads.transfers import Broadcast, Fetch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.workloads.base import Workload

WORKLOADS: dict[str, type[Workload]] = {
    workload.kind: workload
    for workload in (
        RpcPing,
        PushNotify,
        ClientNotify,
        Broadcast,
        BroadcastGrowth,
        Fetch,
        Addressing,
        LinkCut,
        FedAvgRound,
        DigitsTraining,
        MemoryRound,
        FaultLogs,
        IdleFederation,
        Startup,
        MemorySlope,
        Crowd,
        RpcPayload,
        FaninBurst,
        Straggler,
        SlowConsumer,
        Soak,
        Leak,
        Overload,
        Floor,
        ImportTime,
        ProbeOverhead,
    )
}


def catalogue() -> dict[str, Mapping[str, Any]]:
    """Return every kind with its parameters and defaults."""
    return {kind: workload.defaults for kind, workload in WORKLOADS.items()}


def create_workload(kind: str, params: Mapping[str, Any]) -> Workload:
    """Make a workload.

    Raises:
        KeyError: The kind is unknown.
    """
    return WORKLOADS[kind](params)
