"""Links that are cut in the middle of a round, and clients that do not keep up."""

from __future__ import annotations

import asyncio
import time

import numpy as np
import pytest

from fedbench import Federation
from fedbench.errors import Overloaded, PeerLost
from fedbench.tensors.model import ModelState
from tests.fakes.federations import mapping
from tests.fakes.fleet import Stepper
from tests.fakes.proxy import Proxy
from tests.integration.network.conftest import BAD, GOOD, SERVER, resident_bytes, until, within

VALUES = 25_000_000
MODEL_BYTES = 4 * VALUES


@pytest.fixture
async def proxy():
    made = Proxy()
    yield made
    await made.close()


@pytest.mark.slow
@pytest.mark.timeout(60)
async def test_a_round_of_100_mb_models_whose_link_is_cut_in_both_directions(proxy, make_town):
    window = {"resume_window_s": 10.0}
    town = await make_town(clients=1, args={"values": VALUES}, trainer={"deadline_s": 20.0}, **window)
    await town.leave("yaml_client_1")
    await proxy.start(town.port)
    await town.join("yaml_client_1", port=proxy.port)
    proxy.cut_after = proxy.carried + MODEL_BYTES // 2
    running = asyncio.create_task(town.round())
    await until(lambda: proxy.cut_after is None)
    proxy.cut_after = MODEL_BYTES + MODEL_BYTES // 2  # on the way back
    record = await within(running, 30)
    assert record.arrived == ("yaml_client_1",)
    assert proxy.cut_after is None
    assert proxy.connections == 3
    assert town.learners["yaml_client_1"].trained == [1]  # not twice
    expected = np.full(VALUES, 1.0, np.float32)
    assert np.array_equal(town.federation.global_model["w"], expected)
    await until(lambda: town.learners["yaml_client_1"].seen == [1])  # the new model, once
    assert proxy.carried < 1.5 * 3 * MODEL_BYTES
    assert proxy.carried < 3 * MODEL_BYTES + (16 << 20)  # each model once, and what was under way
    assert not town.ended


@pytest.mark.slow
async def test_a_round_over_tls_whose_link_is_cut_again_and_again(proxy, make_town, certificates):
    window = {"resume_window_s": 10.0}
    joining = {"tls": {"ca": certificates("ca")}}
    tls = {"cert": certificates("127.0.0.1")}
    town = await make_town(joining, clients=1, args={"values": VALUES // 5}, tls=tls, **window)
    await town.leave("yaml_client_1")
    await proxy.start(town.port)
    await town.join("yaml_client_1", port=proxy.port)
    running = asyncio.create_task(town.round())
    for part in range(1, 6):  # of the model's 20 MB down, and as many up
        proxy.cut_after = part * (MODEL_BYTES // 15)
        await until(lambda: proxy.cut_after is None)
    record = await within(running, 15)
    assert record.arrived == ("yaml_client_1",)
    assert proxy.connections == 6
    assert town.learners["yaml_client_1"].trained == [1]
    assert np.array_equal(town.federation.global_model["w"], np.full(VALUES // 5, 1.0, np.float32))
    assert not town.ended


class Stunned(Stepper):
    """The second client blocks its event loop for five heartbeats, as no learner should."""

    async def train(self, model, round_info):
        if self.client.index == 1:
            time.sleep(1.5)  # the fault itself
        return super().train(model, round_info)


@pytest.mark.slow
async def test_a_client_that_blocks_its_loop_for_five_heartbeats_holds_up_nobody():
    settings = mapping(
        "network",
        learner=f"{__name__}:Stunned",
        trainer={"rounds": 1},
        transport={"heartbeat_s": 0.3, "resume_window_s": 10.0},
    )
    async with Federation.from_mapping(settings) as federation:
        running = asyncio.create_task(federation.run())
        others = federation.learners()[0], federation.learners()[2]
        times_s, loop = [], asyncio.get_running_loop()
        while not running.done():
            began_s = loop.time()
            await asyncio.gather(*(learner.ping(1) for learner in others))
            times_s.append(loop.time() - began_s)
            await asyncio.sleep(0.02)
        (record,) = (await running).rounds
        assert len(record.arrived) == 3
        assert record.round_s > 1.5
        assert max(times_s) < 0.9
        peers = federation.nodes.side.comm.get_connection_status()["peers"]
        assert {peer["epoch"] for peer in peers.values()} == {1}


@pytest.mark.slow
async def test_a_peer_that_stops_reading_is_bounded_and_slows_nobody(make_town):
    town = await make_town(trainer={"deadline_s": 0.5})
    await town.leave()
    impostor = await town.impostor()
    await within(impostor.register())
    impostor.writer.transport.pause_reading()
    model = ModelState.from_arrays({"w": np.ones(1 << 21, np.float32)}, 1)  # 8 MiB
    before_bytes, accepted = resident_bytes(), 0
    transport = town.federation.nodes.transport
    for version in range(1, 400):
        receipt = (await transport.push(SERVER, [BAD], model.with_version(version)))[BAD]
        if not receipt:
            break
        accepted += 1
        if version % 20 == 0:
            await asyncio.sleep(0)
    assert type(receipt.error) is Overloaded
    assert BAD in str(receipt.error)
    assert accepted <= 129  # a GiB, by its bound
    await asyncio.sleep(0.05)
    assert resident_bytes() - before_bytes < 64 << 20
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    record = await town.round()
    assert record.arrived == GOOD
    assert record.failures[BAD]
    assert loop.time() - began_s < 2.0
    assert BAD not in town.ended
    await impostor.reset()
    await town.end_of()
    await town.intact()


@pytest.mark.slow
async def test_a_peer_that_neither_reads_nor_speaks_is_cut_and_lost(make_town):
    town = await make_town(heartbeat_s=0.2)
    await town.leave()
    impostor = await town.impostor()
    impostor.writer.transport.pause_reading()
    model = ModelState.from_arrays({"w": np.ones(1 << 21, np.float32)}, 1)
    transport = town.federation.nodes.transport
    receipts = [(await transport.push(SERVER, [BAD], model))[BAD] for _ in range(4)]
    began_s = asyncio.get_running_loop().time()
    assert type(await town.end_of()) is PeerLost
    assert asyncio.get_running_loop().time() - began_s < 0.2 * 1.5 + 0.2 + 0.5
    for receipt in receipts:
        with pytest.raises(PeerLost):
            await within(receipt.delivered)
    await town.intact()
