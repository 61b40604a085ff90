"""A federation whose clients are processes: the same results, and the same news of what goes wrong."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from fedbench import Federation, ModelState, RegistrationError
from fedbench.processes import ProcessNodes

LEARNERS = "tests.fakes.fleet"


def mapping(mode="process", clients=3, learner=f"{LEARNERS}:Stepper", args=None, trainer=None, **more):
    allowed = ["train", "evaluate", "get_model", "ping"]
    own = ["versions", "pid", "wait"] if learner.startswith(LEARNERS) else []
    return {
        "mode": mode,
        "server": {"trainer": {"args": {"rounds": 3, "deadline_s": 20.0, **(trainer or {})}}},
        "clients": {
            "count": clients,
            "learner": {"type": learner, "args": args or {}},
            "rpc": {"allowed_methods": allowed + own},
        },
        **more,
    }


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


async def model_of(**options):
    return (await Federation.from_mapping(mapping(**options)).run()).model


@pytest.mark.parametrize("learner", [f"{LEARNERS}:Stepper", "SimpleLearner"])
async def test_processes_train_the_model_of_memory_mode_bit_for_bit(learner):
    expected = await model_of(mode="memory", learner=learner)
    assert await model_of(mode="process", learner=learner) == expected
    assert await model_of(mode="memory", learner=learner, store="shared") == expected


async def test_every_client_is_a_process_of_its_own_and_gone_afterwards():
    federation = Federation.from_mapping(mapping())
    async with federation:
        pids = [await proxy.call_remote_method("pid") for proxy in federation.learners()]
        assert len({*pids, os.getpid()}) == 4
        assert federation.learner_instances == ()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    await federation.stop()


async def test_spawned_clients_serve_too():
    assert (await model_of(clients=1, fleet={"start_method": "spawn"}))["w"][0] == 3


async def test_a_broadcast_writes_the_model_once_and_everybody_applies_it():
    federation = Federation.from_mapping(mapping())
    async with federation:
        model = ModelState.from_arrays({"w": np.ones(1 << 16, np.float32)}, 5)
        assert set((await federation.broadcast(model)).values()) == {None}
        assert [await proxy.call_remote_method("versions") for proxy in federation.learners()] == [[5]] * 3
        assert await federation.learners()[0].get_model() == model
        assert federation.store.stats()["slots"] == 1
        assert federation.store.holds(federation.global_model)


async def test_a_killed_client_fails_its_round_and_nobody_elses(caplog):
    options = {"trainer": {"rounds": 2, "quorum": 0.5}, "args": {"pause_s": 0.2}}
    federation = Federation.from_mapping(mapping(**options))
    async with federation:
        running = asyncio.create_task(federation.run())
        await until(lambda: federation.global_model is not None)
        await asyncio.sleep(0.1)
        federation.nodes.lose("yaml_client_2")
        history = await running
    first, second = history.rounds
    assert first.arrived == second.arrived == ("yaml_client_1", "yaml_client_3")
    assert "lost yaml_client_2" in first.failures["yaml_client_2"]
    assert second.failures == {"yaml_client_2": "not connected"}
    assert "yaml_client_2 (process" in caplog.text


async def test_a_restarted_client_registers_again_and_receives_the_current_model():
    federation = Federation.from_mapping(mapping(fleet={"restart": "on_failure"}, trainer={"rounds": 1}))
    async with federation:
        await federation.run()
        proxy = federation.learners()[1]
        before = await proxy.call_remote_method("pid")
        federation.nodes.lose("yaml_client_2")
        side = federation.nodes.side
        await until(lambda: side.comm.control.monitor.peers["yaml_client_2"].epoch == 2)
        await until(lambda: "yaml_client_2" in side.stub.subscribers["model"])
        assert await proxy.call_remote_method("pid") != before
        async with asyncio.timeout(10):
            while await proxy.call_remote_method("versions") != [1]:
                await asyncio.sleep(0.01)
        assert await proxy.get_model() == federation.global_model


async def test_a_client_that_cannot_be_made_is_named():
    federation = Federation.from_mapping(mapping(learner=f"{LEARNERS}:Unmakeable"))
    with pytest.raises(RegistrationError, match="yaml_client_2 ended before it registered"):
        await federation.start()


async def test_one_that_never_registers_is_named(monkeypatch):
    monkeypatch.setattr("fedbench.processes.START_TIMEOUT_S", 0.1)
    monkeypatch.setattr("fedbench.fleet.fleet.TERM_GRACE_S", 0.1)
    federation = Federation.from_mapping(mapping(learner=f"{LEARNERS}:Late", clients=2))
    with pytest.raises(
        RegistrationError, match=r"not registered within 0\.1 s: yaml_client_1, yaml_client_2"
    ):
        await federation.start()


async def test_a_stopped_client_slows_nobody():
    federation = Federation.from_mapping(mapping())
    async with federation:
        first, second, third = federation.learners()
        stopped = await second.call_remote_method("pid")
        os.kill(stopped, signal.SIGSTOP)
        try:
            waiting = asyncio.create_task(second.ping(1))
            for _ in range(100):
                assert await asyncio.wait_for(first.ping(b"x" * 3000), 5) == b"x" * 3000
            model = ModelState.from_arrays({"w": np.ones(1000, np.float32)}, 1)
            outcomes = await federation.nodes.broadcast(model, deadline_s=0.3)
            assert [outcomes[f"yaml_client_{n}"] is None for n in (1, 2, 3)] == [True, False, True]
            assert await third.ping(2) == 2
            assert not waiting.done()
        finally:
            os.kill(stopped, signal.SIGCONT)
        assert await asyncio.wait_for(waiting, 10) == 1


async def test_a_stopped_client_keeps_no_model_of_each_round():
    trainer = {"rounds": 6, "quorum": 0.5, "deadline_s": 1.2}
    federation = Federation.from_mapping(mapping(clients=2, trainer=trainer))
    async with federation:
        stopped = await federation.learners()[1].call_remote_method("pid")
        os.kill(stopped, signal.SIGSTOP)
        try:
            history = await federation.run()
            leased = federation.store.stats()["leased"]
        finally:
            os.kill(stopped, signal.SIGCONT)
        reasons = [record.failures["yaml_client_2"] for record in history.rounds]
    assert reasons[0].endswith("within 1.2 s")
    assert "yaml_client_2 has not taken the last model yet" in reasons[-1]
    assert max(record.round_s for record in history.rounds[1:]) < 1, "nobody waits for it again"
    assert leased <= 3


async def test_an_update_that_no_room_is_left_for_fails_at_once_and_by_name():
    federation = Federation.from_mapping(
        mapping(clients=2, learner=f"{LEARNERS}:Cramped", trainer={"rounds": 2, "quorum": 0.5})
    )
    history = await federation.run()
    assert [record.arrived for record in history.rounds] == [("yaml_client_1",)] * 2
    for record in history.rounds:
        assert "TensorStoreFull" in record.failures["yaml_client_2"]
        assert record.round_s < 10


async def test_too_little_shared_memory_is_told_before_training(monkeypatch, caplog):
    monkeypatch.setattr("fedbench.tensors.segments.room", lambda: (1000, 64 << 20))
    await Federation.from_mapping(mapping(clients=2, trainer={"rounds": 1})).run()
    assert "/dev/shm has 1000 of 67108864 bytes free and 16128 may be needed: enlarge it" in caplog.text


async def test_what_a_killed_run_left_behind_is_swept_at_the_start(caplog):
    script = "from fedbench.tensors.segments import Segment; s = Segment(8192); print(s.name, flush=True)"
    with subprocess.Popen(
        [sys.executable, "-c", f"{script}; import os, signal; os.killpg(0, signal.SIGKILL)"],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as killed:
        name = killed.stdout.read().strip()
    assert os.path.exists(f"/dev/shm/{name}")
    async with Federation.from_mapping(mapping(clients=1)):
        pass
    assert not os.path.exists(f"/dev/shm/{name}")
    assert "segments of shared memory that a killed run left behind" in caplog.text


async def test_a_start_that_is_interrupted_leaves_nothing_and_complains_of_nothing(caplog):
    federation = Federation.from_mapping(mapping(learner=f"{LEARNERS}:Late", clients=2))
    starting = asyncio.create_task(federation.start())
    await until(lambda: federation.nodes.fleet.pid("yaml_client_2") is not None)
    pids = [federation.nodes.fleet.pid(f"yaml_client_{number}") for number in (1, 2)]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    gc.collect()
    assert not [record for record in caplog.records if record.name == "asyncio"]


async def test_nothing_is_logged_of_an_orderly_life(caplog, capfd):
    caplog.set_level(logging.INFO)
    await model_of()
    assert not [record for record in caplog.records if record.levelno > logging.INFO]
    assert "Traceback" not in capfd.readouterr().err


def test_the_nodes_of_process_mode_are_these():
    federation = Federation.from_mapping(mapping())
    assert isinstance(federation.nodes, ProcessNodes)
    federation.store.close()
