import asyncio
from typing import Any

import pytest

from harness.stacks.federation import FederationStack
from harness.stats.histogram import Histogram
from harness.stats.order import percentile_upper_rank
from harness.workloads.notifying import PushNotify
from harness.workloads.registry import create_workload

pytestmark = pytest.mark.slow


def count(outcome: Any, name: str) -> int:
    return Histogram.from_dict(outcome.histograms[name]).count


async def test_every_notification_is_handled_once_and_in_order(stack, session, drive) -> None:
    outcome = await drive("push_notify", stack, clients=3, operations=20, rate_per_s=400.0)
    assert (outcome.operations, outcome.clients, outcome.wrong) == (20, 3, [])
    assert {name: count(outcome, name) for name in outcome.histograms} == {
        "latency": 20,
        "intended": 20,
        "lag": 20,
    }
    assert session.asked == [("begin", False), "end"]


async def test_latency_from_the_intended_time_includes_the_lag(drive) -> None:
    stack = FederationStack("push", "memory", {})
    outcome = await drive("push_notify", stack, clients=1, operations=50, rate_per_s=1e6)
    sent, intended, lag = (
        Histogram.from_dict(outcome.histograms[n]).percentile(1.0) for n in ("latency", "intended", "lag")
    )
    assert intended >= max(sent, lag) * 0.95  # buckets are coarse


async def test_a_lost_notification_is_missed(tapped, drive) -> None:
    class Lossy(tapped):
        def notify(self, client: int, data: Any, *, intended_ns: int) -> None:
            if data[0] != 5:
                super().notify(client, data, intended_ns=intended_ns)

    stack = Lossy()
    outcome = await drive("push_notify", stack, clients=1, operations=10, rate_per_s=1e4, drain_s=0.3)
    assert outcome.wrong == ["client 0: of 10 notifications 1 lost (5)"]
    assert stack.stops == 1


async def test_notifications_out_of_order_are_found(tapped, drive) -> None:
    class Swapping(tapped):
        held: Any = None

        def notify(self, client: int, data: Any, *, intended_ns: int) -> None:
            if data[0] == 2:
                self.held = data
                return
            super().notify(client, data, intended_ns=intended_ns)
            if data[0] == 3:
                super().notify(client, self.held, intended_ns=intended_ns)

    outcome = await drive("push_notify", Swapping(), clients=1, operations=5, rate_per_s=1e4)
    assert outcome.wrong == ["client 0: of 5 notifications 2 out of order (3, 2)"]


async def test_a_notification_at_another_address_is_found(tapped, drive) -> None:
    class Astray(tapped):
        def notify(self, client: int, data: Any, *, intended_ns: int) -> None:
            super().notify(1 - client if data[0] == 0 else client, data, intended_ns=intended_ns)

    outcome = await drive("push_notify", Astray(), clients=2, operations=4, rate_per_s=1e4, drain_s=0.3)
    assert sorted(line.split("notifications ")[1] for line in outcome.wrong) == [
        "1 lost (0)",
        "1 not its own (0)",
    ]


async def test_one_that_comes_twice_is_found(tapped, drive) -> None:
    class Doubling(tapped):
        def notify(self, client: int, data: Any, *, intended_ns: int) -> None:
            for _ in range(2 if data[0] == 1 else 1):
                super().notify(client, data, intended_ns=intended_ns)

    outcome = await drive("push_notify", Doubling(), clients=1, operations=4, rate_per_s=1e4)
    assert outcome.wrong == ["client 0: of 4 notifications 1 doubled (1)"]


async def test_a_complaint_names_what_is_wrong_and_no_more(tapped, drive) -> None:
    class Silent(tapped):
        def notify(self, client: int, data: Any, *, intended_ns: int) -> None:
            pass

    outcome = await drive("push_notify", Silent(), clients=1, operations=400, rate_per_s=1e6, drain_s=0.1)
    assert outcome.wrong == ["client 0: of 400 notifications 400 lost (0, 1, 2, 3, 4, …)"]


async def test_nothing_is_asked_of_a_client_while_notifications_are_on_their_way(
    tapped, session, drive
) -> None:
    class Watching(tapped):
        asked_within: list[str]

        async def ask(self, client: int, method: str, **options: Any) -> Any:
            if session.asked[-1] != "end":
                self.asked_within.append(method)
            return await super().ask(client, method, **options)

    for kind, params in (
        ("push_notify", {"operations": 30, "rate_per_s": 1e4}),
        ("addressing", {"messages": 2}),
    ):
        stack = Watching()
        stack.asked_within = []
        outcome = await drive(kind, stack, clients=5, **params)
        assert (outcome.wrong, stack.asked_within) == ([], [])


async def test_a_handler_that_waits_has_lost_nothing_and_is_waited_for(stack, session, drive) -> None:
    loop = asyncio.get_running_loop()
    start_s = loop.time()
    outcome = await drive("push_notify", stack, clients=2, operations=10, rate_per_s=1e4, handler_s=0.2)
    assert outcome.wrong == []
    assert loop.time() - start_s >= 0.2  # handled is what has been handled to its end
    assert Histogram.from_dict(outcome.histograms["latency"]).min_ns < 0.1e9  # told from the beginning


def test_the_bound_of_the_default_is_no_single_mishap() -> None:
    operations = PushNotify.defaults["operations"]
    rank = percentile_upper_rank(operations)
    assert rank is not None
    assert operations - rank >= 4


async def test_every_client_has_its_own_address(stack, session, drive) -> None:
    outcome = await drive("addressing", stack, clients=20, messages=2)
    assert (outcome.operations, outcome.clients, outcome.wrong) == (60, 20, [])
    assert outcome.values == {"clients": 20.0}
    assert session.asked == [("begin", False), "end"]


async def test_clients_that_get_what_is_not_theirs_do_not_count(tapped, drive) -> None:
    class Crossed(tapped):
        async def ping(self, client: int, payload: Any, *, deadline_s: float) -> Any:
            answer = await super().ping(client, payload, deadline_s=deadline_s)
            return "to 9" if client == 3 else answer

        def notify(self, client: int, data: Any, *, intended_ns: int) -> None:
            super().notify({0: 1, 1: 0}.get(client, client), data, intended_ns=intended_ns)

    outcome = await drive("addressing", Crossed(), clients=5, messages=1)
    assert outcome.values == {"clients": 2.0}
    assert outcome.wrong == [
        "client 0 answered 'to 0'; of 1 notifications 1 lost ((0, 0)), 1 not its own ((1, 0))",
        "client 1 answered 'to 1'; of 1 notifications 1 lost ((1, 0)), 1 not its own ((0, 0))",
        "client 3 answered 'to 9'; its notifications are right",
    ]


async def test_addresses_that_nothing_reaches_are_missed(tapped, drive) -> None:
    class Silent(tapped):
        def notify(self, client: int, data: Any, *, intended_ns: int) -> None:
            pass

    outcome = await drive("addressing", Silent(), clients=3, messages=2, drain_s=0.3)
    assert outcome.values == {"clients": 0.0}
    assert outcome.wrong[0] == "client 0 answered 'to 0'; of 2 notifications 2 lost ((0, 0), (0, 1))"


async def test_clients_that_do_not_answer_in_time_are_missed(tapped, drive) -> None:
    class Slow(tapped):
        async def ask(self, client: int, method: str) -> Any:
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await drive("addressing", Slow(), clients=3, messages=2, drain_s=0.01)


def test_arrivals_take_their_time_and_a_slow_poller_more() -> None:
    workload = create_workload("push_notify", {"operations": 100, "rate_per_s": 50.0})
    assert workload.expected_s(poll_s=0.0) == pytest.approx(2.0, abs=0.1)
    assert workload.expected_s(poll_s=5.0) > 40


def test_a_poller_is_expected_to_take_longer() -> None:
    workload = create_workload("addressing", {})
    assert workload.expected_s(poll_s=0.001) > workload.expected_s(poll_s=0.0) > 0
