"""Workloads of whole rounds."""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import TYPE_CHECKING, Any, ClassVar

from fedbench.errors import QuorumNotReached
from fedbench.values import ClientInfo
from harness.records.derive import Outcome
from harness.stacks.base import FederationSpec, Stack
from harness.stats.histogram import Histogram
from harness.workloads.barrier import barrier
from harness.workloads.base import LEARNERS, SETUP_S, Session, Workload, digest, running
from harness.workloads.beside import (
    against_floor,
    beside_s,
    create_beside,
    create_reference,
    floor_cpu_s,
    spoilt_by,
)
from harness.workloads.learners import DraftLearner

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fedbench.values import History, RoundRecord


ROUND_DEADLINE_S = 60.0
"""Only whether a round succeeds counts, not how fast: a busy machine must have the time it needs."""
FAULT_ATTEMPTS = 3
"""A round that a slow machine could not end by its deadline is tried again with four times the deadline."""


class FedAvgRound(Workload):
    """Rounds with next to zero compute: what is left is communication and reduction.

    With ``train_s`` every client waits so long without computing before it answers, as one that trains on a
    device of its own: what the architecture does while it waits is then part of the round. As many rounds
    without waiting come before, so that what is first used is not in the window.

    Latency: from the end of one round to the end of the next, so that handing out the new model counts; the
    first ``warmup`` rounds, and always the first, do not. The ``floor``, if it names one, is timed after each
    round, and counts where the round does.
    """

    kind = "fedavg_round"
    defaults: ClassVar[Mapping[str, Any]] = {
        "clients": 20,
        "rounds": 20,
        "model_bytes": 4096,
        "train_s": 0.0,
        "warmup": 0,
        "floor": "",
    }

    def expected_s(self, *, poll_s: float) -> float:
        """Return about how long it takes: a poller finds a round's call after up to 30 ms."""
        clients, model_bytes = self.params["clients"], self.params["model_bytes"]
        rounds = self.params["rounds"]
        round_s = (
            self.params["train_s"]
            + (0.03 if poll_s else 0.002)
            + (2.8e-9 if poll_s else 0.3e-9) * clients * model_bytes
        )
        floor_s = beside_s(self.params["floor"], model_bytes, clients, rounds)
        return SETUP_S + float(rounds * round_s) + floor_s

    async def run(self, stack: Stack, session: Session) -> Outcome:
        """Run the rounds; every client must take part, and the average of their updates be exact."""
        clients, rounds = self.params["clients"], self.params["rounds"]
        beside = create_beside(self.params["floor"], self.params["model_bytes"], clients)
        reference = create_reference(self.params["floor"])
        latency, floor_ns, reference_ns = Histogram(), [], []
        resumed_ns, unmeasured = 0, max(self.params["warmup"], 1)

        def after(record: RoundRecord) -> None:
            nonlocal resumed_ns
            now_ns = time.perf_counter_ns()
            if record.number > unmeasured:
                latency.record(now_ns - resumed_ns)
            if beside is not None:
                floor_ns.append(beside.time())
            if reference is not None and record.number > unmeasured:
                reference_ns.append(reference.time())
            resumed_ns = time.perf_counter_ns()

        spec = FederationSpec(
            clients,
            f"{LEARNERS}:DraftLearner",
            {"model_bytes": self.params["model_bytes"], "train_s": self.params["train_s"]},
            {"rounds": rounds, "deadline_s": ROUND_DEADLINE_S + self.params["train_s"]},
            methods=("take_time",),
        )
        async with running(stack, spec):
            if self.params["train_s"]:
                await self._warm(stack)
            async with session.measured():
                history = await stack.run(on_round=after)
        wrong = _incomplete(history, rounds, clients)
        wrong += await _wrong_sum(history, self.params["model_bytes"], clients)
        outcome = _outcome(history, clients, wrong)
        outcome.values |= _phases(history)
        outcome.values["clients"] = float(min(len(record.arrived) for record in history.rounds))
        outcome.missing = spoilt_by(self.params["floor"])
        outcome.floor_cpu_s = floor_cpu_s(self.params["floor"], floor_ns)
        if latency.count:
            outcome.histograms["latency"] = latency.to_dict()
            outcome.values["round_client_s"] = latency.percentile(0.5) / 1e9 / clients
            outcome.values |= against_floor(floor_ns[unmeasured:], latency, reference_ns)
        return outcome

    async def _warm(self, stack: Stack) -> None:
        """Run all rounds once without waiting, and have the clients wait from then on."""
        await stack.run()
        await asyncio.gather(*(stack.ask(i, "take_time") for i in range(self.params["clients"])))


class DigitsTraining(Workload):
    """The real training: logistic regression on the UCI digits, dealt non-IID."""

    kind = "digits_training"
    defaults: ClassVar[Mapping[str, Any]] = {
        "clients": 10,
        "rounds": 20,
        "seed": 7,
        "least_accuracy": 0.90,
    }

    def expected_s(self, *, poll_s: float) -> float:
        """Return about how long the training takes."""
        return SETUP_S + (0.06 if poll_s else 0.025) * float(self.params["rounds"])

    async def run(self, stack: Stack, session: Session) -> Outcome:
        """Train; the test accuracy must be reached."""
        spec = FederationSpec(
            self.params["clients"],
            "SimpleLearner",
            {},
            {"rounds": self.params["rounds"], "deadline_s": ROUND_DEADLINE_S},
            self.params["seed"],
        )
        async with running(stack, spec), session.measured():
            history = await stack.run()
        wrong = _incomplete(history, self.params["rounds"], self.params["clients"])
        accuracy = history.metrics["accuracy"]
        if accuracy < self.params["least_accuracy"]:
            wrong.append(f"accuracy {accuracy:.3f} is below {self.params['least_accuracy']}")
        outcome = _outcome(history, self.params["clients"], wrong)
        outcome.values |= _phases(history)
        outcome.values["accuracy"] = accuracy
        outcome.texts["model_digest"] = digest(history.model)
        return outcome


class MemoryRound(Workload):
    """Rounds on a large model. Memory is sampled throughout, and while every client holds its update.

    These updates, one a client, are the learners' own: any architecture has them in memory at that moment.
    What an architecture adds is the peak less them (``memory_above_updates_bytes``).

    What comes and goes within a round (texts of JSON, copies) is half of what it is about, so it is sampled
    densely, and its times decide nothing.
    """

    kind = "memory_round"
    defaults: ClassVar[Mapping[str, Any]] = {"clients": 20, "rounds": 3, "model_bytes": 16 << 20}

    def expected_s(self, *, poll_s: float) -> float:
        """Return about how long it takes: a poller copies every model twice more."""
        total_bytes = self.params["clients"] * self.params["rounds"] * self.params["model_bytes"]
        return SETUP_S + (2.8e-9 if poll_s else 1e-9) * float(total_bytes)

    async def run(self, stack: Stack, session: Session) -> Outcome:
        """Run the rounds; every update must count once in each."""
        clients, rounds = self.params["clients"], self.params["rounds"]
        async with barrier(clients, session.sample_memory) as folder:
            spec = FederationSpec(
                clients,
                f"{LEARNERS}:DraftLearner",
                {"model_bytes": self.params["model_bytes"], "barrier": folder},
                {"rounds": rounds, "deadline_s": 2 * ROUND_DEADLINE_S},
            )
            async with running(stack, spec), session.measured(memory=True, densely=True):
                history = await stack.run()
        wrong = _incomplete(history, rounds, clients)
        wrong += await _wrong_sum(history, self.params["model_bytes"], clients)
        outcome = _outcome(history, clients, wrong)
        outcome.updates_bytes = clients * sum(array.nbytes for array in history.model.values())
        return outcome


class FaultLogs(Workload):
    """A handler that raises and a client that is lost. Each must leave a WARNING that names the client."""

    kind = "fault_logs"
    defaults: ClassVar[Mapping[str, Any]] = {"clients": 4, "deadline_s": 0.5}

    def expected_s(self, *, poll_s: float) -> float:
        """Return about how long it takes: only a poller has to wait until it misses the lost client."""
        return SETUP_S + (2.2 * float(self.params["deadline_s"]) if poll_s else 0.0)

    async def run(self, stack: Stack, session: Session) -> Outcome:
        """Run three rounds; the first client raises in the first, the second is lost after the second.

        Where a round ran into its deadline for want of CPU, all of it is tried again with a longer one.
        """
        deadline_s = float(self.params["deadline_s"])
        for attempt in range(FAULT_ATTEMPTS):
            outcome = await self._attempt(stack, session, deadline_s * 4**attempt)
            if not outcome.wrong:
                break
        return outcome

    async def _attempt(self, stack: Stack, session: Session, deadline_s: float) -> Outcome:
        spec = FederationSpec(
            self.params["clients"],
            f"{LEARNERS}:FaultyLearner",
            {},
            {"rounds": 3, "quorum": 0.5, "deadline_s": deadline_s},
        )
        raised = lost = 0
        session.keep_warnings()
        faulty, victim = "yaml_client_1", "yaml_client_2"

        def after(record: RoundRecord) -> None:
            nonlocal raised, lost
            if record.number == 1:
                raised = session.warnings_naming(faulty)
            if record.number == 2:
                stack.lose(1)

        try:
            async with running(stack, spec), session.measured():
                history = await stack.run(on_round=after)
                lost = session.warnings_naming(victim)
        except QuorumNotReached as error:
            return Outcome(wrong=[str(error)])
        wrong = []
        if not raised:
            wrong.append(f"{faulty} raised and no WARNING named it")
        if not lost:
            wrong.append(f"{victim} was lost and no WARNING named it")
        failed = [sorted(record.failures) for record in history.rounds]
        if failed != [[faulty], [], [victim]]:
            wrong.append(f"the rounds report failures of {failed}")
        values = {"faults_reported": float(bool(raised) + bool(lost))}
        return Outcome(
            operations=3,
            clients=self.params["clients"],
            values=values,
            wrong=wrong,
        )


def _incomplete(history: History, rounds: int, clients: int) -> list[str]:
    wrong = [
        f"round {record.number}: {record.failures}"
        for record in history.rounds
        if len(record.arrived) != clients
    ]
    if len(history.rounds) != rounds:
        wrong.append(f"{len(history.rounds)} rounds instead of {rounds}")
    return wrong


async def _wrong_sum(history: History, model_bytes: int, clients: int) -> list[str]:
    """Return what is wrong with the average of updates that each add the client's number, from 1."""
    first = await DraftLearner(ClientInfo("first", 0, 1, 0), model_bytes=model_bytes).initial_model()
    expected = first["values"] + len(history.rounds) * (clients + 1) / 2
    if (history.model["values"] == expected).all():
        return []
    return ["the model is not the first plus the mean of the clients' numbers a round"]


def _phases(history: History) -> dict[str, float]:
    """Return what the mean round spent on each phase; the first, which starts everything, aside."""
    rounds = history.rounds[1:] or history.rounds
    return {
        f"round_{phase}": statistics.fmean(getattr(record.phases, phase) for record in rounds)
        for phase in ("ask_s", "collect_s", "reduce_s", "publish_s")
    }


def _outcome(history: History, clients: int, wrong: list[str]) -> Outcome:
    return Outcome(
        operations=len(history.rounds),
        clients=clients,
        values={"round_s": statistics.median(record.round_s for record in history.rounds)},
        wrong=wrong,
    )
