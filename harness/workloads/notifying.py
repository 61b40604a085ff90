"""Workloads of notifications: each must be handled once, by whom it was sent to, in order."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar

from harness.records.derive import Outcome
from harness.stacks.base import FederationSpec, Stack
from harness.stats.histogram import Histogram
from harness.workloads.arrivals import Arrivals
from harness.workloads.base import LEARNERS, SETUP_S, Session, Workload, running
from harness.workloads.completion import Completion, completion

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

REPORTING = f"{LEARNERS}:ReportingLearner"
NAMED = 5
"""How many messages a complaint names of each kind."""


class PushNotify(Workload):
    """Notifications to random clients at random (Poisson) times. Latency: send to the handler's beginning.

    Every client reports over a pipe once it has handled as many as it is sent (see
    :mod:`harness.workloads.completion`). What is measured ends with the last report: nothing is asked of a
    client while notifications are on their way, so no call holds up the last of them, and no call is in the
    CPU, the wake-ups or the rates. What they have handled is asked for behind the window.

    A handler that waits (``handler_s``) has not lost its notification: it counts as handled when the handler
    has ended. The order is that in which the handlers began, for that is what is promised.

    The 95 % bound of the p99 is an order statistic: of 1000 operations the fifth largest, of fewer than 473
    the largest itself, which one mishap decides.
    """

    kind = "push_notify"
    defaults: ClassVar[Mapping[str, Any]] = {
        "clients": 100,
        "operations": 1000,
        "rate_per_s": 400.0,
        "handler_s": 0.0,
        "drain_s": 30.0,
        "seed": 11,
    }

    def expected_s(self, *, poll_s: float) -> float:
        """Return how long the arrivals take, and a poller to handle a few in turn, under three ids each."""
        return SETUP_S + float(self.params["operations"] / self.params["rate_per_s"]) + 9 * poll_s

    async def run(self, stack: Stack, session: Session) -> Outcome:
        """Send, wait until every notification was handled, and check that each came once, in order."""
        clients, operations = self.params["clients"], self.params["operations"]
        rng = random.Random(self.params["seed"])
        targets = [rng.randrange(clients) for _ in range(operations)]
        arrivals = Arrivals(self.params["rate_per_s"], rng)
        expected = Counter(targets)
        async with completion(len(expected)) as handled:
            spec = _spec([expected[i] for i in range(clients)], handled, self.params["handler_s"])
            async with running(stack, spec):
                async with session.measured():
                    for i, client in enumerate(targets):
                        intended_ns, now_ns = await arrivals.next()
                        stack.notify(client, [i, now_ns, intended_ns], intended_ns=intended_ns)
                    await handled.wait(self.params["drain_s"])
                events = await _collected(stack, clients, self.params["drain_s"])
        sent = {client: [i for i, target in enumerate(targets) if target == client] for client in expected}
        latency, intended = _latency(events)
        return Outcome(
            operations=operations,
            clients=clients,
            histograms={
                "latency": latency.to_dict(),
                "intended": intended.to_dict(),
                "lag": arrivals.lag.to_dict(),
            },
            wrong=_wrong(sent, events),
        )


class Addressing(Workload):
    """Calls and notifications to every client of a large federation; each must reach its own address only."""

    kind = "addressing"
    defaults: ClassVar[Mapping[str, Any]] = {"clients": 200, "messages": 5, "drain_s": 30.0}

    def expected_s(self, *, poll_s: float) -> float:
        """Return about how long a poller needs."""
        return SETUP_S + (0.3 if poll_s else 0.05)

    async def run(self, stack: Stack, session: Session) -> Outcome:
        """Call and notify all clients, and count those that got exactly what was theirs."""
        clients, messages = self.params["clients"], self.params["messages"]
        async with (
            completion(clients if messages else 0) as handled,
            running(stack, _spec([messages] * clients, handled)),
        ):
            async with session.measured():
                answers = await asyncio.gather(
                    *(stack.ping(client, f"to {client}", deadline_s=30.0) for client in range(clients))
                )
                for number in range(messages):
                    for client in range(clients):
                        stack.notify(client, [client, number], intended_ns=0)
                await handled.wait(self.params["drain_s"])
            events = await _collected(stack, clients, self.params["drain_s"])
        wrong = [
            f"client {i} answered {answers[i]!r}; {difference or 'its notifications are right'}"
            for i, came in enumerate(events)
            if (difference := _difference([(i, n) for n in range(messages)], [tuple(d) for _, d in came]))
            or answers[i] != f"to {i}"
        ]
        return Outcome(
            operations=clients * (messages + 1),
            clients=clients,
            values={"clients": float(clients - len(wrong))},
            wrong=wrong,
        )


def _spec(expected: list[int], handled: Completion, handler_s: float = 0.0) -> FederationSpec:
    """Return a federation of one client for each count of notifications that it is sent."""
    arguments = {"expected": expected, "done": handled.path, "handler_s": handler_s}
    return FederationSpec(len(expected), REPORTING, learner_args=arguments, methods=("collected",))


async def _collected(stack: Stack, clients: int, timeout_s: float) -> list[Any]:
    """Return each client's events.

    Raises:
        TimeoutError: Some did not answer within ``timeout_s`` seconds.
    """
    async with asyncio.timeout(timeout_s):
        return await asyncio.gather(*(stack.ask(client, "collected") for client in range(clients)))


def _latency(events: Sequence[Any]) -> tuple[Histogram, Histogram]:
    """Return the latency from the send, and from the intended time of it, of all events of all clients."""
    latency, intended = Histogram(), Histogram()
    for begun_ns, (_, sent_ns, intended_ns) in (event for came in events for event in came):
        latency.record(begun_ns - sent_ns)
        intended.record(max(begun_ns - intended_ns, 0))
    return latency, intended


def _wrong(sent: Mapping[int, Sequence[int]], events: Sequence[Any]) -> list[str]:
    """Return one line for each client that did not handle just what it was sent, in order."""
    differences = (
        (client, _difference(sent.get(client, ()), [data[0] for _, data in came]))
        for client, came in enumerate(events)
    )
    return [f"client {client}: {difference}" for client, difference in differences if difference]


def _difference(sent: Sequence[Any], came: Sequence[Any]) -> str:
    """Return what is wrong with what came, empty if nothing is; it names a few messages of each kind.

    Args:
        sent: Messages in the order in which they were sent, no two alike.
        came: Those that came, in order.
    """
    counts, own = Counter(came), set(sent)
    first = dict.fromkeys(message for message in came if message in own)
    in_order = [message for message in sent if message in counts]
    kinds = {
        "lost": [message for message in sent if message not in counts],
        "doubled": [message for message, count in counts.items() if count > 1],
        "not its own": [message for message in counts if message not in own],
        "out of order": [
            message for message, rightly in zip(first, in_order, strict=True) if message != rightly
        ],
    }
    found = [f"{len(messages)} {kind} ({_few(messages)})" for kind, messages in kinds.items() if messages]
    return f"of {len(sent)} notifications {', '.join(found)}" if found else ""


def _few(messages: Sequence[Any]) -> str:
    named = ", ".join(map(str, messages[:NAMED]))
    return f"{named}, …" if len(messages) > NAMED else named
