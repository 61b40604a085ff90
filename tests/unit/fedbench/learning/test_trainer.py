"""The trainer selects by index, averages in fixed order, keeps deadline and quorum, leaves nothing behind."""

from __future__ import annotations

import asyncio
import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbench.errors import DeadlineExceeded, QuorumNotReached, RemoteError
from fedbench.learning.dispatch import LearnerDispatcher
from fedbench.learning.simple import SimpleLearner
from fedbench.learning.trainer import FedAvgTrainer, draw_round
from fedbench.tensors.model import ModelState
from fedbench.values import ClientInfo, TrainResult, result_from_body, round_to_body
from tests.fakes.clock import FakeClock


def model(value=0.0, version=0):
    return ModelState.from_arrays({"w": np.array([value], np.float32)}, version)


class Client:
    """Adds ``index + 1`` to the model, weight ``index + 1``, after ``hops`` turns of the loop."""

    def __init__(self, index, *, hops=0, error=None, metrics=None, prefix="c"):
        self.client_id, self.index = f"{prefix}{index}", index
        self.hops, self.error, self.metrics = hops, error, metrics or {}
        self.rounds, self.deadlines, self.running = [], [], 0

    async def begin_train(self, given, round_info, *, deadline_s=None):
        self.rounds.append(round_info)
        self.deadlines.append(deadline_s)
        self.running += 1
        try:
            for _ in range(self.hops):
                await asyncio.sleep(0)
            if self.error is not None:
                raise self.error
            return self.update(given)
        finally:
            self.running -= 1

    def update(self, given):
        draft = given.draft(copy=True)
        draft["w"] += self.index + 1
        return TrainResult(draft.freeze(), self.index + 1, self.metrics)

    async def evaluate(self, given, *, deadline_s=None):
        return {}


class Stuck(Client):
    """Never answers."""

    async def begin_train(self, given, round_info, *, deadline_s=None):
        self.hops = 10**9
        return await super().begin_train(given, round_info)


class Digits:
    """Calls a SimpleLearner through its dispatcher."""

    def __init__(self, index, count, seed):
        self.client_id, self.index = f"digits_{index}", index
        self.dispatcher = LearnerDispatcher(
            SimpleLearner(ClientInfo(self.client_id, index, count, seed)), self.client_id
        )

    async def begin_train(self, given, round_info, *, deadline_s=None):
        return result_from_body(*await self.dispatcher.call("train", round_to_body(round_info), given))

    async def evaluate(self, given, *, deadline_s=None):
        return (await self.dispatcher.call("evaluate", None, given))[0]


def train(clients, *, count=None, seed=7, start=None, **options):
    hooks = {name: options.pop(name) for name in ("evaluate", "publish", "on_round") if name in options}
    trainer = FedAvgTrainer(**{"rounds": 1, "clock": FakeClock(), **options})
    return trainer.train(
        lambda: clients,
        start or model(),
        count=len(clients) if count is None else count,
        seed=seed,
        **hooks,
    )


async def hops(count=20):
    for _ in range(count):
        await asyncio.sleep(0)


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


async def test_one_round_is_the_weighted_mean_of_the_updates(caplog):
    clients = [Client(index) for index in range(3)]
    history = await train(clients, start=model(10.0, 4))
    assert history.model["w"][0] == np.float32(10 + (1 * 1 + 2 * 2 + 3 * 3) / 6)
    (record,) = history.rounds
    assert (record.number, record.model_version, history.model.version) == (1, 5, 5)
    assert record.selected == record.arrived == ("c0", "c1", "c2")
    assert (record.num_examples, record.failures, record.metrics) == (6, {}, {})
    assert warnings(caplog) == []


async def test_rounds_go_on_from_each_other_and_are_announced():
    client, numbers, asked = Client(0), [], []

    def connected():
        asked.append(len(numbers))
        return [client]

    history = await FedAvgTrainer(rounds=3, deadline_s=4.0, clock=FakeClock()).train(
        connected, model(), count=1, seed=5, on_round=lambda record: numbers.append(record.number)
    )
    assert numbers == [1, 2, 3]
    assert asked == [0, 1, 2]
    assert history.model["w"][0] == 3.0
    assert [record.model_version for record in history.rounds] == [1, 2, 3]
    assert [(info.number, info.total) for info in client.rounds] == [(1, 3), (2, 3), (3, 3)]
    assert len({info.seed for info in client.rounds}) == 3
    assert client.deadlines == [4.0] * 3


async def test_hooks_see_the_new_model_in_order():
    seen = []

    async def publish(new):
        seen.append(("publish", new.version))
        return {"c0": None}

    async def evaluate(new):
        seen.append(("evaluate", new.version))
        return {"accuracy": float(new["w"][0]), "loss": 9.0}

    client = Client(0, metrics={"loss": 1.0, "extra": 2.0})
    history = await train([client], rounds=2, publish=publish, evaluate=evaluate)
    assert seen == [("publish", 1), ("evaluate", 1), ("publish", 2), ("evaluate", 2)]
    assert history.rounds[0].metrics == {"loss": 9.0, "extra": 2.0, "accuracy": 1.0}
    assert history.metrics == {"loss": 9.0, "extra": 2.0, "accuracy": 2.0}


async def test_evaluation_may_be_a_plain_function():
    history = await train([Client(0)], evaluate=lambda new: {"accuracy": 0.5})
    assert history.metrics == {"accuracy": 0.5}


async def test_metrics_are_weighted_by_examples_over_those_who_report_them():
    metrics = [{"loss": 1.0, "rare": 5.0}, {"loss": 4.0}, {"loss": 2.0}]
    clients = [Client(index, metrics=metrics[index]) for index in range(3)]
    history = await train(clients)
    assert history.metrics == {"loss": (1 * 1.0 + 2 * 4.0 + 3 * 2.0) / 6, "rare": 5.0}


@pytest.mark.slow
@given(st.permutations(range(5)))
def test_neither_speed_nor_ids_change_the_result(order):
    async def run(delays, prefix):
        clients = [Client(index, hops=delays[index], prefix=prefix) for index in range(5)]
        return await train(list(reversed(clients)), rounds=2, fraction=0.6)

    fast, slow = asyncio.run(run([0] * 5, "a")), asyncio.run(run(order, "b"))
    assert fast.model == slow.model
    assert [record.selected for record in fast.rounds] == [
        tuple(name.replace("b", "a") for name in record.selected) for record in slow.rounds
    ]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("odd"), "ValueError: odd"),
        (RemoteError("c1", "KeyError", "'w'"), "c1 raised KeyError: 'w'"),
        (DeadlineExceeded("c1 did not answer"), "c1 did not answer"),
    ],
)
async def test_a_failing_client_leaves_one_warning_and_the_round_goes_on(error, reason, caplog):
    clients = [Client(0), Client(1, error=error), Client(2)]
    history = await train(clients, quorum=0.6)
    assert history.model["w"][0] == np.float32((1 + 9) / 4)
    assert history.rounds[0].arrived == ("c0", "c2")
    assert history.rounds[0].failures == {"c1": reason}
    assert history.rounds[0].num_examples == 4
    assert warnings(caplog) == [f"round 1: c1 gave no update: {reason}"]


async def test_a_client_that_is_away_is_warned_of_once_while_it_is(caplog):
    both = [Client(0), Client(1)]
    clients = both[:]

    def come_and_go(record):
        clients[:] = both if record.number in (1, 4, 5) else both[:1]  # in the next round

    history = await train(clients, count=2, rounds=7, quorum=0.5, on_round=come_and_go)
    away = {"c1": "not connected"}
    assert [record.failures for record in history.rounds] == [{}, {}, away, away, {}, {}, away]
    assert warnings(caplog) == [f"round {number}: c1 gave no update: not connected" for number in (3, 7)]


async def test_an_update_of_another_layout_is_the_clients_failure(caplog):
    class Odd(Client):
        def update(self, given):
            return TrainResult(ModelState.from_arrays({"w": np.zeros(2)}), 1)

    history = await train([Client(0), Odd(1)], quorum=0.5)
    assert "array 'w' is <f8 (2,) in the update" in history.rounds[0].failures["c1"]
    assert len(warnings(caplog)) == 1


async def test_a_call_cancelled_from_elsewhere_is_a_failure():
    history = await train([Client(0), Client(1, error=asyncio.CancelledError())], quorum=0.5)
    assert history.rounds[0].failures == {"c1": "its call was cancelled"}


async def test_selected_clients_that_are_not_connected_are_failures(caplog):
    clients = [Client(0), Client(1), Client(2)]
    records = []

    def connected():
        return clients if not records else clients[:1]

    await FedAvgTrainer(rounds=2, quorum=0.25, clock=FakeClock()).train(
        connected, model(), count=4, seed=1, on_round=records.append
    )
    assert records[0].selected == records[1].selected == ("c0", "c1", "c2", "client[3]")
    assert records[0].failures == {"client[3]": "not connected"}
    assert records[1].failures == dict.fromkeys(("c1", "c2", "client[3]"), "not connected")
    assert len(warnings(caplog)) == 3  # the fourth is as it was


async def test_two_learners_of_one_index_are_named():
    learners = [Client(0, prefix="a"), Client(0, prefix="b")]
    with pytest.raises(ValueError, match="a0 and b0 both have index 0"):
        await FedAvgTrainer(1).train_round(learners, model(), 1, count=2, seed=0)


async def test_nobody_connected_misses_the_quorum_at_once():
    with pytest.raises(QuorumNotReached, match="round 1: 0 of the required 2 updates"):
        await train([], count=2)


async def test_the_deadline_ends_the_round_with_those_who_answered(caplog):
    clock, clients = FakeClock(), [Stuck(0), Client(1), Stuck(2), Client(3, hops=3)]
    task = asyncio.create_task(train(clients, quorum=0.5, deadline_s=2.5, clock=clock))
    await hops()
    clock.advance(2.4)
    await hops()
    assert not task.done()
    clock.advance(0.2)
    history = await task
    assert history.model["w"][0] == np.float32((4 + 16) / 6)
    (record,) = history.rounds
    assert record.failures == {"c0": "no update within 2.5 s", "c2": "no update within 2.5 s"}
    assert record.round_s == pytest.approx(2.6)
    assert [client.running for client in clients] == [0] * 4
    assert clock.pending == 0
    assert len(warnings(caplog)) == 2


async def test_a_round_knows_what_its_time_was_spent_on():
    clock = FakeClock()

    class Slow(Client):
        def begin_train(self, given, round_info, *, deadline_s=None):
            clock.advance(0.25)  # before the question is out
            return self._answer(given, round_info)

        async def _answer(self, given, round_info):
            clock.advance(1.0)
            return await super().begin_train(given, round_info)

    async def publish(_):
        clock.advance(0.5)

    history = await train([Slow(0), Slow(1)], clock=clock, publish=publish)
    (record,) = history.rounds
    phases = record.phases
    assert (phases.ask_s, phases.collect_s, phases.publish_s) == (0.5, 2.0, 0.5)
    assert phases.reduce_s == 0.0  # the clock of this test stands still meanwhile
    assert record.round_s == 3.0


async def test_missing_the_quorum_ends_training():
    clock = FakeClock()
    task = asyncio.create_task(train([Client(0), Stuck(1), Client(2, error=OSError("x"))], clock=clock))
    await hops()
    clock.advance(30)
    with pytest.raises(QuorumNotReached) as caught:
        await task
    assert (caught.value.round_number, caught.value.arrived, caught.value.required) == (1, 1, 3)
    assert caught.value.failures == {"c1": "no update within 30 s", "c2": "OSError: x"}
    assert list(caught.value.failures) == ["c1", "c2"]


@pytest.mark.parametrize(
    ("quorum", "count", "required"), [(0.1, 30, 3), (0.5, 3, 2), (0.01, 3, 1), (1.0, 7, 7)]
)
async def test_the_quorum_is_rounded_up(quorum, count, required):
    clients = [Client(index, error=OSError("x")) for index in range(count)]
    with pytest.raises(QuorumNotReached) as caught:
        await train(clients, quorum=quorum)
    assert caught.value.required == required


async def test_cancelling_ends_every_call():
    clock, clients = FakeClock(), [Stuck(0), Client(1), Stuck(2)]
    task = asyncio.create_task(train(clients, clock=clock))
    await hops()
    assert [client.running for client in clients] == [1, 0, 1]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [client.running for client in clients] == [0, 0, 0]
    assert clock.pending == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_an_exception_of_a_hook_ends_training():
    async def publish(new):
        raise OSError("no way out")

    with pytest.raises(OSError, match="no way out"):
        await train([Client(0)], publish=publish)


async def test_only_the_selected_are_asked():
    clients = [Client(index) for index in range(10)]
    history = await train(clients, fraction=0.3, rounds=4)
    for number, record in enumerate(history.rounds, start=1):
        asked = [client.client_id for client in clients if number in [info.number for info in client.rounds]]
        assert list(record.selected) == asked
        assert len(asked) == 3


@given(st.integers(0, 2**40), st.integers(1, 1000), st.integers(1, 200), st.floats(0.001, 1.0))
def test_a_draw_is_distinct_ascending_and_repeatable(seed, number, count, fraction):
    selected, round_seed = draw_round(seed, number, count, fraction)
    assert selected == sorted(set(selected))
    assert len(selected) == max(1, round(fraction * count))
    assert set(selected) <= set(range(count))
    assert 0 <= round_seed < 2**32
    assert draw_round(seed, number, count, fraction) == (selected, round_seed)


def test_every_client_has_its_turn():
    drawn = [index for number in range(1, 101) for index in draw_round(7, number, 10, 0.3)[0]]
    assert min(np.bincount(drawn, minlength=10)) >= 15


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rounds": 0}, "rounds is 0: it must be at least 1"),
        ({"fraction": 0.0}, "fraction is 0.0: it must be above 0 and at most 1"),
        ({"fraction": 1.1}, "fraction is 1.1"),
        ({"quorum": float("nan")}, "quorum is nan"),
        ({"deadline_s": 0}, "deadline_s is 0: it must be finite and above 0"),
        ({"deadline_s": float("inf")}, "deadline_s is inf"),
    ],
)
def test_arguments_out_of_range_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        FedAvgTrainer(**options)


@pytest.mark.parametrize(("count", "seed", "message"), [(0, 1, "count is 0"), (1, -1, "seed is -1")])
async def test_a_federation_has_clients_and_a_seed(count, seed, message):
    with pytest.raises(ValueError, match=message):
        await train([Client(0)], count=count, seed=seed)


@pytest.mark.slow
async def test_digits_are_learned_by_ten_clients_in_twenty_rounds():
    clients = [Digits(index, 10, 7) for index in range(10)]
    start, judge = clients[0].dispatcher.learner.initial_model(), clients[3]
    try:
        history = await FedAvgTrainer(rounds=20).train(
            lambda: clients, start, count=10, seed=7, evaluate=judge.evaluate
        )
    finally:
        for client in clients:
            await client.dispatcher.close()
    assert history.metrics["accuracy"] >= 0.93
    assert history.model.version == 20
    assert all(record.num_examples == 1437 for record in history.rounds)
