import asyncio
import dataclasses
from typing import Any, ClassVar

import pytest

from fedbench.tensors.model import ModelState
from fedbench.values import ClientInfo, History, RoundInfo, RoundRecord, TrainResult
from harness.records.derive import of_the_window
from harness.stacks.base import FederationSpec
from harness.stacks.federation import FederationStack
from harness.workloads.beside import Pace
from harness.workloads.learners import FaultyLearner
from harness.workloads.registry import create_workload

pytestmark = pytest.mark.slow


async def test_the_average_of_equal_models_is_that_model(stack, session, drive) -> None:
    outcome = await drive("fedavg_round", stack, clients=3, rounds=2, model_bytes=64)
    assert (outcome.operations, outcome.clients, outcome.wrong) == (2, 3, [])
    assert outcome.values["round_s"] > 0
    phases = [outcome.values[f"round_{name}_s"] for name in ("ask", "collect", "reduce", "publish")]
    assert min(phases[:3]) > 0
    # The second of two rounds is the one that counts; the median of both lies between them.
    assert 0 < sum(phases) < 2 * outcome.values["round_s"]
    assert session.asked == [("begin", False), "end"]


async def test_a_floor_between_the_rounds_takes_cpu_and_rates_from_them(drive) -> None:
    stack = FederationStack("push", "memory", {})
    alone = await drive("fedavg_round", stack, clients=2, rounds=2, model_bytes=64)
    beside = await drive("fedavg_round", stack, clients=2, rounds=2, model_bytes=64, floor="two_threads")
    assert alone.missing == {}
    assert beside.missing == of_the_window("its window holds the floor, too")


async def test_a_wrong_average_is_found(tapped, drive, shifted) -> None:
    class Biased(tapped):
        async def run(self, **options: Any) -> History:
            history = await super().run(**options)
            return dataclasses.replace(history, model=shifted(history.model, 1e-3))

    outcome = await drive("fedavg_round", Biased(), clients=2, rounds=1, model_bytes=64)
    assert outcome.wrong == ["the model is not the first plus the mean of the clients' numbers a round"]


async def test_rounds_and_clients_that_are_missing_are_found(tapped, drive) -> None:
    class Short(tapped):
        async def run(self, **options: Any) -> History:
            history = await super().run(**options)
            first = history.rounds[0]
            partial = dataclasses.replace(
                first, arrived=first.arrived[:1], failures={"yaml_client_2": "it died"}
            )
            return dataclasses.replace(history, rounds=(partial,))

    outcome = await drive("fedavg_round", Short(), clients=2, rounds=2, model_bytes=64)
    assert outcome.wrong[:2] == ["round 1: {'yaml_client_2': 'it died'}", "1 rounds instead of 2"]


async def test_the_digits_are_learnt_alike_by_both(stack, session, drive) -> None:
    outcome = await drive("digits_training", stack, clients=2, rounds=2, least_accuracy=0.5)
    assert (outcome.operations, outcome.clients, outcome.wrong) == (2, 2, [])
    assert outcome.values["accuracy"] > 0.5
    other_stack = FederationStack("polling" if stack.name == "push" else "push", "memory", {})
    other = await drive("digits_training", other_stack, clients=2, rounds=2, least_accuracy=0.5)
    assert other.texts == outcome.texts
    assert session.asked == [("begin", False), "end"] * 2


async def test_an_accuracy_below_what_is_needed_is_found(tapped, drive) -> None:
    outcome = await drive("digits_training", tapped(), clients=2, rounds=1, least_accuracy=0.999)
    assert len(outcome.wrong) == 1
    assert outcome.wrong[0].endswith("is below 0.999")
    assert f"{outcome.values['accuracy']:.3f}" in outcome.wrong[0]


async def test_memory_is_sampled_once_a_round_while_every_update_is_held(stack, session, drive) -> None:
    outcome = await drive("memory_round", stack, clients=3, rounds=2, model_bytes=4096)
    assert (outcome.operations, outcome.clients, outcome.wrong) == (2, 3, [])
    assert outcome.updates_bytes == 3 * 4096
    assert session.asked == [("begin", True), "sample", "sample", "end"]


async def test_a_model_that_lacks_a_round_is_found(tapped, drive, shifted) -> None:
    class Lagging(tapped):
        async def run(self, **options: Any) -> History:
            history = await super().run(**options)
            return dataclasses.replace(history, model=shifted(history.model, -1))

    outcome = await drive("memory_round", Lagging(), clients=2, rounds=2, model_bytes=64)
    assert outcome.wrong == ["the model is not the first plus the mean of the clients' numbers a round"]


async def test_a_raising_handler_and_a_lost_client_are_each_reported(stack, drive) -> None:
    outcome = await drive("fault_logs", stack, clients=4, deadline_s=0.3)
    assert (outcome.operations, outcome.wrong) == (3, [])
    assert outcome.values == {"faults_reported": 2.0}
    assert outcome.missing == {}


async def test_silence_about_faults_is_found(tapped, drive, session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "warnings_naming", lambda text: 0)
    outcome = await drive("fault_logs", tapped(), clients=4, deadline_s=0.3)
    assert outcome.values == {"faults_reported": 0.0}
    assert outcome.wrong == [
        "yaml_client_1 raised and no WARNING named it",
        "yaml_client_2 was lost and no WARNING named it",
    ]


async def test_failures_that_the_rounds_do_not_report_are_found(tapped, drive) -> None:
    class Hushed(tapped):
        async def run(self, **options: Any) -> History:
            history = await super().run(**options)
            rounds: list[RoundRecord] = [dataclasses.replace(r, failures={}) for r in history.rounds]
            return dataclasses.replace(history, rounds=tuple(rounds))

    outcome = await drive("fault_logs", Hushed(), clients=4, deadline_s=0.3)
    assert outcome.wrong == ["the rounds report failures of [[], [], []]"]


@pytest.mark.parametrize("kind", ["fedavg_round", "digits_training", "memory_round", "fault_logs"])
def test_a_poller_is_expected_to_take_longer(kind: str) -> None:
    workload = create_workload(kind, {})
    assert workload.expected_s(poll_s=0.001) > workload.expected_s(poll_s=0.0) > 0


def test_rounds_are_expected_with_their_floor() -> None:
    bulk = {"clients": 4, "model_bytes": 100_000_000, "rounds": 10}
    plain, whole = (create_workload("fedavg_round", {**bulk, "floor": f}) for f in ("", "two_threads"))
    assert whole.expected_s(poll_s=0.0) == pytest.approx(plain.expected_s(poll_s=0.0) + 1.32)


async def test_warm_rounds_are_timed_from_end_to_end_beside_their_floor(stack, drive, timed) -> None:
    params = {"clients": 2, "rounds": 6, "warmup": 2, "model_bytes": 1 << 16, "floor": "two_threads"}
    outcome = await drive("fedavg_round", stack, **params)
    assert outcome.wrong == []
    assert (outcome.histograms["latency"]["count"], timed) == (4, [4])
    median_s = outcome.values["round_client_s"] * 2
    assert outcome.values["floor_ratio"] == pytest.approx(median_s / outcome.values["floor_s"])
    assert outcome.values["clients"] == 2.0


async def test_what_the_pace_takes_between_rounds_is_known(drive, timed, monkeypatch) -> None:
    """The window holds those of the warm-up, too; the ratio does not."""
    monkeypatch.setattr(Pace, "time", lambda _: 1_000_000)
    stack = FederationStack("push", "memory", {})
    params = {"clients": 2, "rounds": 6, "warmup": 2, "model_bytes": 64, "floor": "pace"}
    outcome = await drive("fedavg_round", stack, **params)
    assert (outcome.histograms["latency"]["count"], timed) == (4, [4])
    assert outcome.floor_cpu_s == pytest.approx(0.006)
    assert "wakeups_per_op" not in outcome.missing
    assert "cpu_cores" in outcome.missing


async def test_the_first_round_has_no_end_before_it(stack, drive) -> None:
    outcome = await drive("fedavg_round", stack, clients=2, rounds=1)
    assert "latency" not in outcome.histograms
    assert "round_client_s" not in outcome.values


async def test_a_round_whose_clients_train_elsewhere_takes_as_long_as_they_do(stack, drive) -> None:
    outcome = await drive("fedavg_round", stack, clients=3, rounds=2, model_bytes=64, train_s=0.1)
    assert outcome.wrong == []
    assert outcome.values["round_s"] >= 0.1
    assert create_workload("fedavg_round", {"rounds": 2, "train_s": 0.5}).expected_s(poll_s=0.0) > 1.0


async def test_faults_are_told_on_a_machine_too_slow_for_the_deadline(drive) -> None:
    """The first rounds of the first attempt miss their deadline; a longer one is tried."""

    class Slow(FederationStack):
        deadlines: ClassVar[list[float]] = []

        async def start(self, spec: FederationSpec) -> None:
            deadline_s = spec.trainer_args["deadline_s"]
            self.deadlines.append(deadline_s)
            late = {"slow_s": 0.05} if len(self.deadlines) == 1 else {}
            await super().start(
                dataclasses.replace(spec, learner=f"{__name__}:LateFaulty", learner_args=late)
            )

    outcome = await drive("fault_logs", Slow("push", "memory", {}), clients=4, deadline_s=0.02)
    assert outcome.wrong == []
    assert Slow.deadlines == [0.02, 0.08]


class LateFaulty(FaultyLearner):
    def __init__(self, client: ClientInfo, *, slow_s: float = 0.0) -> None:
        super().__init__(client)
        self._slow_s = slow_s

    async def train(self, model: ModelState, round_info: RoundInfo) -> TrainResult:
        await asyncio.sleep(self._slow_s)
        return await super().train(model, round_info)
