from typing import Any

import pytest

from harness.stacks.federation import FederationStack
from harness.stats.histogram import Histogram
from harness.workloads.learners import NotifyingLearner

pytestmark = pytest.mark.slow


async def test_every_notification_reaches_the_server_once_and_in_order(stack, session, drive) -> None:
    outcome = await drive("client_notify", stack, clients=3, operations=31, rate_per_s=600.0)
    assert (outcome.operations, outcome.clients, outcome.wrong) == (30, 3, [])
    assert Histogram.from_dict(outcome.histograms["latency"]).count == 30
    assert session.asked == [("begin", False), "end"]


@pytest.mark.parametrize("architecture", ["push", "polling"])
@pytest.mark.parametrize("mode", ["process", "network"])
async def test_it_does_so_from_other_processes(architecture: str, mode: str, drive) -> None:
    stack = FederationStack(architecture, mode, {})
    outcome = await drive("client_notify", stack, clients=2, operations=20, rate_per_s=400.0)
    assert (outcome.operations, outcome.wrong) == (20, [])


async def test_a_notification_that_comes_twice_or_never_is_found(stack, drive, monkeypatch) -> None:
    notify = NotifyingLearner.notify_server

    def faulty(self: NotifyingLearner, event_type: str, data: Any = None) -> None:
        if data[:2] != [0, 1]:
            notify(self, event_type, data)
        if data[:2] == [1, 2]:
            notify(self, event_type, data)

    monkeypatch.setattr(NotifyingLearner, "notify_server", faulty)
    outcome = await drive("client_notify", stack, clients=2, operations=8, rate_per_s=400.0)
    assert [text.split(" and ")[1] for text in outcome.wrong[:2]] == [
        "the server handled [0, 2, 3]",
        "the server handled [0, 1, 2, 2, 3]",
    ]
