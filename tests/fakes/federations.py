"""Federations whose clients are processes, described shortly for tests."""

from __future__ import annotations

import asyncio

from fedbench import Federation
from tests.pace import limit_s

LEARNERS = "tests.fakes.fleet"


def mapping(mode, clients=3, learner=f"{LEARNERS}:Stepper", args=None, trainer=None, **more):
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
    async with asyncio.timeout(limit_s(20)):
        while not condition():
            await asyncio.sleep(0.01)


async def model_of(mode, **options):
    return (await Federation.from_mapping(mapping(mode, **options)).run()).model
