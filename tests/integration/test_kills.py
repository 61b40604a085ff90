"""One long federation with restarts, whose clients are killed at random: every round is accounted for.

``FEDBENCH_KILLS`` sets how many kills; 200 by default.
"""

from __future__ import annotations

import asyncio
import os
import random

from fedbench import Federation, QuorumNotReached
from tests.pace import limit_s

KILLS = int(os.environ.get("FEDBENCH_KILLS", "200"))
CLIENTS = 6
SEED = 20261124
STALL_S = 30.0


def mapping(kills):
    return {
        "mode": "process",
        "seed": SEED,
        "server": {"trainer": {"args": {"rounds": 1, "quorum": 0.1, "deadline_s": 10.0}}},
        "clients": {
            "count": CLIENTS,
            "learner": {"type": "tests.fakes.fleet:Stepper", "args": {"values": 50_000, "pause_s": 0.002}},
        },
        "fleet": {"restart": "on_failure", "max_restarts": kills + 1},
    }


async def kill_at_random(federation, rng, kills):
    """Kill some running client at seeded random times: training, sending, holding a view, or starting.

    Returns when the last death has been noticed.
    """
    ids = [client.client_id for client in federation.config.clients]
    left = kills
    fleet, side = federation.nodes.fleet, federation.nodes.side
    while left:
        await asyncio.sleep(rng.uniform(0.0, 0.03))
        victim = rng.choice(ids)
        pid = fleet.pid(victim)
        epoch = side.comm.control.monitor.peers[victim].epoch
        if pid is not None:
            federation.nodes.lose(victim)
            left -= 1
    peer = side.comm.control.monitor.peers[victim]
    while fleet.pid(victim) == pid or (peer.epoch == epoch and victim in side.stub.subscribers["model"]):
        await asyncio.sleep(0.001)


async def train_until(killing, federation, rng):
    """Train round after round; return the records, and check that each accounts for every client."""
    records, ids = [], {client.client_id for client in federation.config.clients}
    while not killing.done():
        try:
            async with asyncio.timeout(limit_s(STALL_S)):
                history = await federation.run(initial_model=federation.global_model)
        except QuorumNotReached as error:
            missed = error.failures
        else:
            [record] = history.rounds
            missed = record.failures
            assert sorted([*record.arrived, *missed]) == sorted(record.selected)
            records.append(record)
        assert set(missed) <= ids
        await asyncio.sleep(0.001)
    return records


async def test_every_round_is_accounted_for_however_many_clients_are_killed():
    rng = random.Random(SEED)
    federation = Federation.from_mapping(mapping(KILLS))
    async with federation:
        killing = asyncio.create_task(kill_at_random(federation, rng, KILLS))
        records = await train_until(killing, federation, rng)
        await killing
        async with asyncio.timeout(limit_s(STALL_S)):
            while len(federation.nodes.side.stub.subscribers["model"]) < CLIENTS:
                await asyncio.sleep(0.01)
        [last] = (await federation.run(initial_model=federation.global_model)).rounds
        stats = federation.store.stats()
        link = federation.nodes.side.comm.connections.pool.find("yaml_client_1")
        assert link.connection.ledger.balanced()
    assert len(last.arrived) == CLIENTS, "all are back"
    reasons = {reason.split(":")[0] for record in records for reason in record.failures.values()}
    assert all(reason.startswith("lost yaml_client_") or reason == "not connected" for reason in reasons), (
        reasons
    )
    assert stats["slots"] <= 8, "leases of the dead ended, and nothing waits for the garbage collector"
    assert len(records) > KILLS / 20
