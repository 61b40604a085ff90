"""Completion: complete with the last report, from whatever process, and nothing is left behind."""

import asyncio
import os
import subprocess
import sys

from harness.workloads.completion import completion, report


async def test_it_is_complete_with_the_last_report() -> None:
    async with completion(2) as handled:
        report(handled.path)
        assert not await handled.wait(0.02)
        waiting = asyncio.create_task(handled.wait(10.0))
        report(handled.path)
        assert await waiting
        assert await handled.wait(0.0)
    assert not os.path.exists(handled.path)


async def test_reports_come_from_other_processes() -> None:
    code = "import sys; from harness.workloads.completion import report; report(sys.argv[1])"
    async with completion(3) as handled:
        children = [subprocess.Popen([sys.executable, "-c", code, handled.path]) for _ in range(3)]
        assert await handled.wait(20.0)
    assert [child.wait() for child in children] == [0, 0, 0]


async def test_without_clients_it_is_complete() -> None:
    async with completion(0) as handled:
        assert await handled.wait(0.0)


async def test_a_report_after_the_end_is_for_nobody() -> None:
    async with completion(1) as handled:
        pass
    report(handled.path)


async def test_a_report_that_is_read_before_the_loop_turns_counts_once() -> None:
    async with completion(2) as handled:
        report(handled.path)
        handled.read()
        handled.read()
        await asyncio.sleep(0.01)
        assert not await handled.wait(0.01)
