"""Barrier: nobody passes before all are there, round after round, and nothing is left behind."""

import asyncio
import os

from harness.workloads.barrier import arrive, barrier


async def test_all_wait_for_the_last_and_for_what_is_done_then() -> None:
    go, passed, looked = asyncio.Event(), [], []

    async def on_all() -> None:
        looked.append(list(passed))
        await go.wait()

    async def pass_by(folder: str, index: int) -> None:
        await arrive(folder, index)
        passed.append(index)

    async with barrier(2, on_all) as folder:
        first = asyncio.create_task(pass_by(folder, 0))
        await asyncio.sleep(0.01)
        assert not passed
        second = asyncio.create_task(pass_by(folder, 1))
        while not looked:
            await asyncio.sleep(0)
        assert not passed
        go.set()
        await asyncio.gather(first, second)
        await asyncio.gather(pass_by(folder, 1), pass_by(folder, 0))
    assert looked[0] == []
    assert sorted(passed) == [0, 0, 1, 1]
    assert not os.path.exists(folder)


async def test_leaving_early_leaves_nothing() -> None:
    async with barrier(2, None) as folder:
        waiting = asyncio.create_task(arrive(folder, 0))
        await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    assert not os.path.exists(folder)
