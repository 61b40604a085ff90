from __future__ import annotations

from typing import Any

import pytest

from fedbench.tensors.model import ModelState
from harness.records.derive import of_the_window
from harness.stacks.federation import FederationStack
from harness.workloads import growth
from harness.workloads.registry import create_workload

BRIEF = {"few": 2, "many": 20, "turns": 2, "operations": 12, "model_bytes": 256}


@pytest.mark.slow
async def test_the_time_for_each_client_hardly_depends_on_their_number(drive, session) -> None:
    outcome = await drive("broadcast_growth", FederationStack("push", "memory", {}), **BRIEF)
    assert outcome.wrong == []
    assert 0 < outcome.values["growth_ratio"] < 5  # a constant share may only make few dearer
    assert outcome.operations == 2 * (12 - 3)  # to many; the first quarter warms up
    assert outcome.missing == of_the_window(growth.TURNS_WITHIN)
    assert session.asked == [("begin", False), "end"]


@pytest.mark.slow
async def test_work_of_the_square_of_the_clients_shows(tapped, drive) -> None:
    """Each broadcast does so much for every pair of clients that all else is nothing beside it."""

    class Quadratic(tapped):
        async def broadcast(self, model: ModelState) -> dict[str, Exception | None]:
            for _ in range(600 * len(self.echoes) ** 2):
                pass
            return await super().broadcast(model)

    plain = await drive("broadcast_growth", tapped(), **BRIEF)
    slow = await drive("broadcast_growth", Quadratic(), **BRIEF)
    assert slow.values["growth_ratio"] > 2 * plain.values["growth_ratio"]


@pytest.mark.slow
async def test_a_model_that_a_client_did_not_apply_is_found(tapped, drive) -> None:
    class Lossy(tapped):
        async def broadcast(self, model: ModelState) -> dict[str, Exception | None]:
            if model.version == 3:
                return {}
            return await super().broadcast(model)

    outcome = await drive("broadcast_growth", Lossy(), **BRIEF)
    assert len(outcome.wrong) == 2 * (2 + 20)
    assert outcome.wrong[0].startswith("client 0 applied ")


async def test_sizes_that_do_not_grow_are_refused(tapped, drive) -> None:
    stack: Any = tapped()
    with pytest.raises(ValueError, match="few is 5 and many 5: growth needs more of many"):
        await drive("broadcast_growth", stack, few=5, many=5)
    assert stack.stops == 0


def test_more_clients_and_a_poller_take_longer() -> None:
    few, many = (create_workload("broadcast_growth", {"many": many}) for many in (50, 500))
    assert few.expected_s(poll_s=0.0) < many.expected_s(poll_s=0.0) < many.expected_s(poll_s=0.01)
