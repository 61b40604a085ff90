"""Handing a message to its handlers, until it counts as applied."""

import asyncio

import pytest

from fedbench.messages import Kind, Message
from fedbench.transport.dispatch import Dispatcher
from fedbench.transport.receipt import Ledger, Receipt

MESSAGES = 100
MESSAGE = Message(Kind.CLIENT_NOTIFY, "memory_client_1", "memory_server", "event")


def receipts(ledger):
    made = [Receipt(ledger) for _ in range(MESSAGES)]
    for receipt in made:
        receipt.ack()
    return made


@pytest.mark.parametrize("handlers", [1, 5])
def test_plain_functions(benchmark, loop, handlers):
    ledger, seen = Ledger(), []

    async def run():
        dispatcher = Dispatcher()
        for receipt in receipts(ledger):
            dispatcher.run([seen.append] * handlers, MESSAGE, receipt)
        await dispatcher.close()
        count = len(seen)
        seen.clear()
        return count

    assert benchmark(lambda: loop.run_until_complete(run())) == MESSAGES * handlers
    assert ledger.balanced()


@pytest.mark.parametrize("waits", [False, True])
def test_coroutines(benchmark, loop, waits):
    ledger, seen = Ledger(), []

    async def handler(message):
        if waits:
            await asyncio.sleep(0)
        seen.append(message)

    async def run():
        dispatcher, made = Dispatcher(), receipts(ledger)
        for receipt in made:
            dispatcher.run([handler], MESSAGE, receipt)
        for receipt in made:
            await receipt.applied
        await dispatcher.close()
        count = len(seen)
        seen.clear()
        return count

    assert benchmark(lambda: loop.run_until_complete(run())) == MESSAGES
    assert ledger.balanced()
