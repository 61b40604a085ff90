import asyncio
import gc
import logging
import os
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from harness.records.derive import Outcome
from harness.run.protocol import GO, Begin, Cell, End, Event, Finished, Hold, Sample, event_decoder
from harness.run.session import TIMEOUT_TEXT, ParentGone, RecordCounter, WorkerSession


@pytest.fixture
def counter() -> RecordCounter:
    return RecordCounter()


@pytest.fixture
def logger(counter: RecordCounter) -> Iterator[logging.Logger]:
    made = logging.getLogger("tests.session")
    made.setLevel(logging.DEBUG)
    made.propagate = False
    made.addHandler(counter)
    yield made
    made.removeHandler(counter)
    made.propagate = True


@dataclass
class Parent:
    """The other end of both pipes, in a thread of its own: collects events and answers those that ask.

    Attributes:
        event_fd: Where it reads.
        command_fd: Where it answers.
        answers: How often it answers before it is gone, None for always.
        answer: What it says.
        events: What it was told.
    """

    event_fd: int
    command_fd: int
    answers: int | None = None
    answer: bytes = GO
    events: list[Event] = field(default_factory=list)

    def serve(self) -> None:
        with os.fdopen(self.event_fd, "rb") as events, os.fdopen(self.command_fd, "wb", 0) as commands:
            for line in events:
                event = event_decoder.decode(line)
                self.events.append(event)
                if isinstance(event, Cell | Finished):
                    continue
                if self.answers == 0:
                    return
                if self.answers is not None:
                    self.answers -= 1
                commands.write(self.answer)


@asynccontextmanager
async def joined(
    counter: RecordCounter, *, answers: int | None = None, answer: bytes = GO
) -> AsyncIterator[tuple[WorkerSession, Parent]]:
    """Join a session and a parent by two pipes."""
    command_read, command_write = os.pipe()
    event_read, event_write = os.pipe()
    parent = Parent(event_read, command_write, answers, answer)
    thread = threading.Thread(target=parent.serve)
    thread.start()
    reader = asyncio.StreamReader()
    with os.fdopen(command_read, "rb", 0) as commands:
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), commands
        )
        try:
            yield WorkerSession(reader, event_write, counter), parent
        finally:
            transport.close()
            os.close(event_write)
            await asyncio.to_thread(thread.join)
            await asyncio.get_running_loop().shutdown_default_executor()


async def test_everything_measured_lies_between_begin_and_end(counter: RecordCounter) -> None:
    async with joined(counter) as (session, parent):
        session.tell(Cell("idle"))
        async with session.measured(memory=True):
            await session.hold(0.5)
            await session.sample_memory()
        session.tell(Finished("idle", "ok", [], Outcome()))
    assert parent.events == [
        Cell("idle"),
        Begin(memory=True),
        Hold(0.5),
        Sample(),
        End(),
        Finished("idle", "ok", [], Outcome()),
    ]


async def test_collections_are_noted_only_while_measured(counter: RecordCounter) -> None:
    async with joined(counter) as (session, _):
        gc.collect()
        assert session.pauses.durations_ns == []
        async with session.measured():
            gc.collect()
        noted = len(session.pauses.durations_ns)
        gc.collect()
    assert noted >= 1
    assert len(session.pauses.durations_ns) == noted


async def test_memory_is_sampled_only_where_it_is_asked_for(counter: RecordCounter) -> None:
    async with joined(counter) as (session, parent), session.measured():
        pass
    assert parent.events == [Begin(memory=False), End()]


async def test_only_records_made_while_measured_are_counted(
    counter: RecordCounter, logger: logging.Logger
) -> None:
    async with joined(counter) as (session, _):
        logger.info("before")
        async with session.measured():
            logger.debug("within")
            logger.error("within")
        logger.info("after")
        assert session.logged == 2
        async with session.measured():
            logger.info("again")
        assert session.logged == 3


async def test_a_workload_that_raises_is_not_measured_to_its_end(counter: RecordCounter) -> None:
    async with joined(counter) as (session, parent):
        with pytest.raises(RuntimeError, match="broken"):
            async with session.measured():
                raise RuntimeError("broken")
    assert parent.events == [Begin()]


async def test_a_parent_that_is_gone_ends_the_worker(counter: RecordCounter) -> None:
    async with joined(counter, answers=1) as (session, _):
        with pytest.raises(ParentGone, match="measuring process is gone"):
            async with session.measured():
                await session.hold(0.1)


async def test_a_parent_that_says_something_else_ends_the_worker(counter: RecordCounter) -> None:
    async with joined(counter, answer=b"stop\n") as (session, _):
        with pytest.raises(ParentGone):
            await session.sample_memory()


async def test_a_message_larger_than_the_pipe_arrives_whole(counter: RecordCounter) -> None:
    large = Finished("idle", "failed", ["x" * 1_000_000], Outcome())
    async with joined(counter) as (session, parent):
        session.tell(large)
        await session.sample_memory()
    assert parent.events == [large, Sample()]


# the counter


def test_records_are_counted_by_level(counter: RecordCounter, logger: logging.Logger) -> None:
    for level in (logging.DEBUG, logging.INFO, logging.INFO, logging.WARNING, logging.CRITICAL):
        logger.log(level, "level %d", level)
    assert counter.counts == {10: 1, 20: 2, 30: 1, 50: 1}
    assert counter.warnings is None, "nobody asked for texts, which cost time"


def test_a_record_that_cannot_be_formatted_does_not_stop_who_logs_it(
    counter: RecordCounter, capsys: pytest.CaptureFixture[str]
) -> None:
    counter.warnings = []
    counter.handle(logging.LogRecord("x", logging.WARNING, "x.py", 1, "%d clients", ("many",), None))
    assert "Logging error" in capsys.readouterr().err
    assert (counter.counts.total(), counter.warnings) == (1, [])


async def test_warnings_that_name_a_node_are_found(counter: RecordCounter, logger: logging.Logger) -> None:
    async with joined(counter) as (session, _):
        logger.warning("lost client_1 before anybody asked")
        assert session.warnings_naming("client_1") == 0
        session.keep_warnings()
        logger.info("lost client_1")
        logger.warning("lost %s", "client_1")
        logger.error("client_1: raised")
        logger.warning("lost client_2 and client_10")
        logger.warning("%s: client_1 found nothing", TIMEOUT_TEXT)
        assert session.warnings_naming("client_1") == 2
        assert session.warnings_naming("client_3") == 0
    counter.warnings = ["lost client_1"]
    another = WorkerSession(asyncio.StreamReader(), -1, counter)
    assert another.warnings_naming("client_1") == 0, "another workload's warnings do not count"
