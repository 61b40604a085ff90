"""What becomes of messages when the link to every client is cut in the middle of them."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, Any, ClassVar

from harness.records.derive import Outcome, of_the_log, of_the_window
from harness.stacks.base import FederationSpec, Stack
from harness.stacks.link import Link
from harness.workloads.arrivals import Arrivals
from harness.workloads.base import LEARNERS, SETUP_S, Session, Workload, running

if TYPE_CHECKING:
    from collections.abc import Mapping

CUT_WITHIN = "its window holds a cut, and the process of the link"
RECONNECT_S = 2.0
"""About how long clients take to come back."""


class LinkCut(Workload):
    """Numbered notifications and calls to every client, with all links cut half-way through, for ``cut_s``.

    Every notification must be handled once and in order, and every call be answered rightly, across the cut.
    ``recovery_s`` is from the end of the cut until the last client handles its first message after it;
    ``clients`` counts those that got all of theirs.
    """

    kind = "link_cut"
    defaults: ClassVar[Mapping[str, Any]] = {
        "clients": 5,
        "operations": 200,
        "rate_per_s": 200.0,
        "cut_s": 0.3,
        "drain_s": 60.0,
        "seed": 17,
    }

    def expected_s(self, *, poll_s: float) -> float:
        """Return how long the notifications take, and the clients to come back."""
        sending_s = self.params["operations"] / self.params["rate_per_s"]
        return SETUP_S + float(sending_s + self.params["cut_s"]) + RECONNECT_S

    async def run(self, stack: Stack, session: Session) -> Outcome:
        """Send, cut, and check what every client handled and answered."""
        clients = self.params["clients"]
        spec = FederationSpec(clients, f"{LEARNERS}:EchoLearner", methods=("collected",), link=Link())
        async with running(stack, spec), session.measured():
            sending_s = self.params["operations"] / self.params["rate_per_s"] + self.params["cut_s"]
            end_ns = time.monotonic_ns() + int(sending_s * 1e9)
            calling = [asyncio.create_task(self._call(stack, i, end_ns)) for i in range(clients)]
            try:
                sent, restored_ns, wrong = await self._send(stack)
                for answered in await asyncio.gather(*calling):
                    wrong += answered
            finally:
                for task in calling:
                    task.cancel()
            drain_s = self.params["drain_s"]
            asked = (stack.ask(i, "collected", deadline_s=drain_s) for i in range(clients))
            events = await asyncio.gather(*asked)
        whole = [[data for _, data in handled] == sent[i] for i, handled in enumerate(events)]
        wrong += [_told(i, sent[i], events[i]) for i in range(clients) if not whole[i]]
        values = {"clients": float(sum(whole))} | _recovery(events, restored_ns)
        return Outcome(
            operations=self.params["operations"],
            clients=clients,
            values=values,
            missing=of_the_window(CUT_WITHIN) | of_the_log(CUT_WITHIN),
            wrong=wrong,
        )

    async def _send(self, stack: Stack) -> tuple[dict[int, list[int]], int, list[str]]:
        """Send all; return what each client was sent, when the cut ended (ns) and what was wrong."""
        rng = random.Random(self.params["seed"])
        arrivals = Arrivals(self.params["rate_per_s"], rng)
        clients, operations = self.params["clients"], self.params["operations"]
        sent: dict[int, list[int]] = {client: [] for client in range(clients)}
        restored_ns, wrong = 0, []
        for number in range(operations):
            if number == operations // 2:
                cut = await stack.cut(self.params["cut_s"])
                restored_ns = time.monotonic_ns() + int(self.params["cut_s"] * 1e9)
                if cut < clients:
                    wrong.append(f"only {cut} connections of {clients} clients were cut")
            intended_ns, _ = await arrivals.next()
            client = number % clients
            sent[client].append(number)
            stack.notify(client, number, intended_ns=intended_ns)
        return sent, restored_ns, wrong

    async def _call(self, stack: Stack, client: int, end_ns: int) -> list[str]:
        """Call one client until the end, one call at a time; return what was wrong with the answers."""
        wrong, number = [], 0
        while time.monotonic_ns() < end_ns:
            payload = [client, number]
            answer = await stack.ping(client, payload, deadline_s=self.params["drain_s"])
            if answer != payload:
                wrong.append(f"ping {number} to client {client} was answered with {answer!r}")
            number += 1
            await asyncio.sleep(0.01)
        return wrong


def _told(client: int, sent: list[int], handled: list[Any]) -> str:
    came = [data for _, data in handled]
    lost, again = len(set(sent) - set(came)), len(came) - len(set(came))
    return (
        f"client {client} was sent {len(sent)} and handled {len(came)}: {lost} lost, {again} twice, or order"
    )


def _recovery(events: list[Any], restored_ns: int) -> dict[str, float]:
    """Return how long the last client took to handle something after the cut; nothing where one did not."""
    first_ns = [
        min((handled_ns for handled_ns, _ in handled if handled_ns >= restored_ns), default=None)
        for handled in events
    ]
    after_ns = [each for each in first_ns if each is not None]
    if len(after_ns) < len(events):
        return {}
    return {"recovery_s": (max(after_ns) - restored_ns) / 1e9}
