"""A federation joined by a network: the same results, and the same news of what goes wrong."""

from __future__ import annotations

import asyncio
import logging
import os
import signal

import numpy as np
import pytest
import trustme

from fedbench import ConfigError, Federation, ModelState, RegistrationError
from fedbench.networks import NetworkNodes

LEARNERS = "tests.fakes.fleet"


def mapping(mode="network", clients=3, learner=f"{LEARNERS}:Stepper", args=None, trainer=None, **more):
    allowed = ["train", "evaluate", "get_model", "ping"]
    own = ["versions", "pid", "wait"] if learner.startswith(LEARNERS) else []
    transport = {"transport": more.pop("transport")} if "transport" in more else {}
    return {
        "mode": mode,
        "server": {"trainer": {"args": {"rounds": 3, "deadline_s": 20.0, **(trainer or {})}}, **transport},
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
async def test_a_network_trains_the_model_of_memory_mode_bit_for_bit(learner):
    expected = await model_of(mode="memory", learner=learner)
    assert await model_of(learner=learner) == expected
    assert await model_of(learner=learner, loop="asyncio") == expected


async def test_every_client_is_a_process_of_its_own_and_gone_afterwards():
    federation = Federation.from_mapping(mapping())
    async with federation:
        pids = [await proxy.call_remote_method("pid") for proxy in federation.learners()]
        assert len({*pids, os.getpid()}) == 4
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    await federation.stop()


async def test_everybody_applies_a_broadcast():
    async with Federation.from_mapping(mapping()) as federation:
        model = ModelState.from_arrays({"w": np.ones(1 << 18, np.float32)}, 5)
        assert set((await federation.broadcast(model)).values()) == {None}
        assert [await proxy.call_remote_method("versions") for proxy in federation.learners()] == [[5]] * 3
        assert await federation.learners()[0].get_model() == model


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
    assert "lost yaml_client_2: its process" in first.failures["yaml_client_2"]
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


async def test_a_client_that_does_not_register_in_time_is_named(monkeypatch):
    monkeypatch.setattr("fedbench.networks.START_TIMEOUT_S", 0.1)
    monkeypatch.setattr("fedbench.fleet.fleet.TERM_GRACE_S", 0.1)
    federation = Federation.from_mapping(mapping(learner=f"{LEARNERS}:Late", clients=2))
    with pytest.raises(
        RegistrationError, match=r"not registered within 0\.1 s: yaml_client_1, yaml_client_2"
    ):
        await federation.start()


async def test_a_stopped_client_slows_nobody():
    async with Federation.from_mapping(mapping()) as federation:
        first, second, _ = federation.learners()
        stopped = await second.call_remote_method("pid")
        os.kill(stopped, signal.SIGSTOP)
        try:
            waiting = asyncio.create_task(second.ping(1))
            model = ModelState.from_arrays({"w": np.ones(1 << 20, np.float32)}, 1)
            outcomes = await federation.nodes.broadcast(model, deadline_s=0.5)
            assert [outcomes[f"yaml_client_{n}"] is None for n in (1, 2, 3)] == [True, False, True]
            for _ in range(50):
                assert await asyncio.wait_for(first.ping(b"x" * 3000), 5) == b"x" * 3000
            assert not waiting.done()
        finally:
            os.kill(stopped, signal.SIGCONT)
        assert await asyncio.wait_for(waiting, 10) == 1


async def test_with_certificates_and_a_token(tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "cert.pem"))
    (tmp_path / "token").write_text("secret\n")
    (tmp_path / "token").chmod(0o600)
    files = {name: str(tmp_path / f"{name}.pem") for name in ("cert", "ca")}
    transport = {"tls": {"cert": files["cert"]}, "token_file": str(tmp_path / "token")}
    settings = mapping(clients=1, transport=transport)
    settings["clients"]["transport"] = {"tls": {"ca": files["ca"]}}
    async with Federation.from_mapping(settings) as federation:
        assert await federation.learners()[0].ping(1) == 1
        (told,) = federation.nodes.transport.status()["connections"]
        assert told["linked"]


def test_an_address_that_others_can_hear_is_refused_where_it_stands():
    with pytest.raises(ConfigError, match=r"server\.transport\.host: '0\.0\.0\.0' is not loopback"):
        Federation.from_mapping(mapping(transport={"host": "0.0.0.0"}))


async def test_nothing_is_logged_of_an_orderly_life(caplog, capfd):
    caplog.set_level(logging.INFO)
    await model_of()
    assert not [record for record in caplog.records if record.levelno > logging.INFO]
    assert "Traceback" not in capfd.readouterr().err


def test_the_nodes_of_network_mode_are_these():
    assert isinstance(Federation.from_mapping(mapping()).nodes, NetworkNodes)
