"""A federation whose clients are processes: the same results and news, whatever joins them."""

from __future__ import annotations

import asyncio
import logging
import os
import signal

import numpy as np
import pytest

from fedbench import Federation, ModelState, RegistrationError
from tests.fakes.federations import LEARNERS, mapping, model_of, until
from tests.pace import limit_s


@pytest.fixture(params=["process", "network"])
def mode(request):
    return request.param


@pytest.mark.parametrize("learner", [f"{LEARNERS}:Stepper", "SimpleLearner"])
async def test_every_mode_and_loop_trains_the_model_of_memory_mode_bit_for_bit(mode, learner):
    expected = await model_of("memory", learner=learner)
    assert await model_of(mode, learner=learner) == expected
    assert await model_of(mode, learner=learner, loop="asyncio") == expected


async def test_every_client_is_a_process_of_its_own_and_gone_afterwards(mode):
    federation = Federation.from_mapping(mapping(mode))
    async with federation:
        pids = [await proxy.call_remote_method("pid") for proxy in federation.learners()]
        assert len({*pids, os.getpid()}) == 4
        assert federation.learner_instances == ()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    await federation.stop()


async def test_a_killed_client_fails_its_round_and_nobody_elses(mode, caplog):
    options = {"trainer": {"rounds": 2, "quorum": 0.5}, "args": {"pause_s": 0.6}}
    federation = Federation.from_mapping(mapping(mode, **options))
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


async def test_a_restarted_client_registers_again_and_receives_the_current_model(mode):
    federation = Federation.from_mapping(
        mapping(mode, fleet={"restart": "on_failure"}, trainer={"rounds": 1})
    )
    async with federation:
        await federation.run()
        proxy = federation.learners()[1]
        before = await proxy.call_remote_method("pid")
        federation.nodes.lose("yaml_client_2")
        side = federation.nodes.side
        await until(lambda: side.comm.control.monitor.peers["yaml_client_2"].epoch == 2)
        await until(lambda: "yaml_client_2" in side.stub.subscribers["model"])
        assert await proxy.call_remote_method("pid") != before
        async with asyncio.timeout(limit_s(10)):
            while await proxy.call_remote_method("versions") != [1]:
                await asyncio.sleep(0.01)
        assert await proxy.get_model() == federation.global_model


async def test_a_client_that_cannot_be_made_is_named(mode):
    federation = Federation.from_mapping(mapping(mode, learner=f"{LEARNERS}:Unmakeable"))
    with pytest.raises(RegistrationError, match="yaml_client_2 ended before it registered"):
        await federation.start()


async def test_a_client_that_does_not_register_in_time_is_named(mode, monkeypatch):
    monkeypatch.setattr("fedbench.fleetnodes.FleetNodes.start_timeout_s", 0.1)
    monkeypatch.setattr("fedbench.fleet.fleet.TERM_GRACE_S", 0.1)
    federation = Federation.from_mapping(mapping(mode, learner=f"{LEARNERS}:Late", clients=2))
    with pytest.raises(
        RegistrationError, match=r"not registered within 0\.1 s: yaml_client_1, yaml_client_2"
    ):
        await federation.start()


async def test_a_stopped_client_slows_nobody(mode):
    federation = Federation.from_mapping(mapping(mode))
    async with federation:
        first, second, third = federation.learners()
        stopped = await second.call_remote_method("pid")
        os.kill(stopped, signal.SIGSTOP)
        try:
            waiting = asyncio.create_task(second.ping(1))
            for _ in range(100):
                assert await asyncio.wait_for(first.ping(b"x" * 3000), limit_s(5)) == b"x" * 3000
            model = ModelState.from_arrays({"w": np.ones(1000, np.float32)}, 1)
            outcomes = await federation.nodes.broadcast(model, deadline_s=0.3)
            assert [outcomes[f"yaml_client_{n}"] is None for n in (1, 2, 3)] == [True, False, True]
            assert await third.ping(2) == 2
            assert not waiting.done()
        finally:
            os.kill(stopped, signal.SIGCONT)
        assert await asyncio.wait_for(waiting, limit_s(10)) == 1


async def test_nothing_is_logged_of_an_orderly_life(mode, caplog, capfd):
    caplog.set_level(logging.INFO)
    await model_of(mode)
    assert not [record for record in caplog.records if record.levelno > logging.INFO]
    assert "Traceback" not in capfd.readouterr().err
