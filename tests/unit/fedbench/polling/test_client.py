import asyncio
import contextlib
import logging
from dataclasses import replace

import pytest

from fedbench.learning.dispatch import LearnerDispatcher
from fedbench.messages import Kind, Message
from fedbench.polling.client import ERROR, PollingClient
from fedbench.polling.mailbox import Mailboxes
from fedbench.values import ClientInfo
from tests.fakes.federations import until

CLIENT = "yaml_client_1"


@contextlib.asynccontextmanager
async def running(build, config):
    """A client that looks for messages, and the mailboxes it looks into."""
    dispatcher = build(1)._clients[CLIENT].dispatcher
    client = PollingClient(dispatcher, CLIENT, Mailboxes(), config)
    task = asyncio.create_task(client.run("hub"))
    try:
        yield client, client._mail
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task  # a client that ended by itself would raise something else
        await dispatcher.close()


async def ask(boxes, kind, method, body=None, tensors=None, source="hub", correlation_id=5):
    boxes.put(Message(kind, source, CLIENT, method, body, tensors, correlation_id))
    return await boxes.receive(source, CLIENT, 5, 0.001)


async def registered(boxes):
    message = await boxes.receive("hub", CLIENT, 5, 0.001)
    assert message.kind is Kind.REGISTER


async def test_it_registers_then_answers_requests(build, quiet, model):
    async with running(build, quiet) as (_, boxes):
        await registered(boxes)
        answer = await ask(boxes, Kind.RPC_REQUEST, "train", {"number": 1, "total": 1, "seed": 0}, model(2))
        assert (answer.kind, answer.method, answer.correlation_id) == (Kind.RPC_RESPONSE, "", 5)
        assert answer.body == {"num_examples": 5, "metrics": {"loss": 0.5}}
        assert answer.tensors["w"].tolist() == [1, 2, 3, 4]


async def test_it_finds_every_server_that_it_may_have(build, quiet):
    async with running(build, quiet) as (_, boxes):
        for server in quiet.server_ids:
            assert (await ask(boxes, Kind.RPC_REQUEST, "ping", server, source=server)).body != "lost"


async def test_messages_are_handled_one_at_a_time(build, quiet):
    async with running(build, quiet) as (client, boxes):
        await registered(boxes)
        boxes.put(Message(Kind.RPC_REQUEST, "hub", CLIENT, "hold", correlation_id=1))
        boxes.put(Message(Kind.RPC_REQUEST, "hub", CLIENT, "ping", "later", correlation_id=2))
        with pytest.raises(TimeoutError):
            await boxes.receive("hub", CLIENT, 0.02, 0.001)
        client.dispatcher.learner.go.set()
        answers = [await boxes.receive("hub", CLIENT, 5, 0.001) for _ in range(2)]
        assert [(answer.correlation_id, answer.body) for answer in answers] == [(1, "held"), (2, "later")]


async def test_a_request_whose_deadline_has_passed_is_skipped(build, quiet):
    async with running(build, quiet) as (_, boxes):
        await registered(boxes)
        boxes.put(Message(Kind.RPC_REQUEST, "hub", CLIENT, "ping", "old", None, 1, deadline_ns=1))
        assert (await ask(boxes, Kind.RPC_REQUEST, "ping", "new")).body == "new"


async def test_a_model_of_another_event_is_an_event(build, quiet, model):
    async with running(build, quiet) as (client, boxes):
        await registered(boxes)
        answer = await ask(boxes, Kind.MODEL_PUSH, "teacher", tensors=model(4))
        assert answer.kind is Kind.PUSH_ACK
        assert client.dispatcher.learner.events == [("teacher", model(4))]
        assert client.dispatcher.current_model is None


async def test_a_pushed_model_is_acknowledged(build, quiet, model):
    async with running(build, quiet) as (client, boxes):
        await registered(boxes)
        answer = await ask(boxes, Kind.MODEL_PUSH, "model", tensors=model(4))
        assert (answer.kind, answer.method, answer.correlation_id) == (Kind.PUSH_ACK, "", 5)
        assert client.dispatcher.learner.versions == [4]


async def test_a_notification_gets_no_answer(build, quiet):
    async with running(build, quiet) as (client, boxes):
        await registered(boxes)
        boxes.put(Message(Kind.CLIENT_NOTIFY, "hub", CLIENT, "phase", {"n": 1}))
        assert (await ask(boxes, Kind.RPC_REQUEST, "ping", "next")).body == "next"
        assert client.dispatcher.learner.events == [("phase", {"n": 1})]


@pytest.mark.parametrize(
    ("method", "error", "message"),
    [
        ("fail", "ZeroDivisionError", "by zero"),
        ("lump", "LocalProtocolError", "cannot carry a builtins.object"),
        ("end", "CancelledError", ""),
        ("set_model", "PermissionError", "does not allow 'set_model'"),
    ],
)
async def test_whatever_the_learner_does_is_answered_and_the_client_lives(
    build, quiet, caplog, method, error, message
):
    async with running(build, quiet) as (_, boxes):
        await registered(boxes)
        answer = await ask(boxes, Kind.RPC_REQUEST, method)
        assert answer.method == ERROR
        assert answer.body["type"] == error
        assert message in answer.body["message"]
        assert error in answer.body["traceback"]
        (record,) = [r for r in caplog.records if r.levelno == logging.WARNING]
        assert record.getMessage().startswith(f"{CLIENT}: {method} from hub raised {error}: ")
        assert (await ask(boxes, Kind.RPC_REQUEST, "ping", "alive")).body == "alive"


async def test_a_notification_that_raises_leaves_a_warning_and_no_answer(build, quiet, caplog):
    async with running(build, quiet) as (client, boxes):
        await registered(boxes)
        client.dispatcher.learner.refuse = ZeroDivisionError("no")
        boxes.put(Message(Kind.CLIENT_NOTIFY, "hub", CLIENT, "phase"))
        assert (await ask(boxes, Kind.RPC_REQUEST, "ping", "next")).body == "next"
        assert [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING] == [
            f"{CLIENT}: phase from hub raised ZeroDivisionError: no"
        ]


async def test_every_look_that_finds_nothing_leaves_a_warning_if_asked_to(build, quiet, caplog):
    def warned():
        return [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]

    async with running(build, replace(quiet, warn_on_timeout=True)):
        await until(lambda: len(warned()) >= 3)
    warnings = warned()
    for server, warning in zip(quiet.server_ids * 2, warnings, strict=False):
        assert warning == f"receive timed out: {CLIENT} found nothing from {server} within 0.002 s"


async def test_no_warning_where_none_is_wanted(build, quiet, caplog):
    async with running(build, quiet):
        await asyncio.sleep(0.03)
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []


async def test_a_client_can_be_stopped_in_mid_call(build, quiet):
    async with running(build, quiet) as (client, boxes):
        await registered(boxes)
        boxes.put(Message(Kind.RPC_REQUEST, "hub", CLIENT, "hold", correlation_id=1))
        await client.dispatcher.learner.holding.wait()
    assert boxes.look("hub", CLIENT) is None


def test_it_says_who_it_is(build, quiet):
    dispatcher = LearnerDispatcher(build(1)._clients[CLIENT].dispatcher.learner, CLIENT)
    assert PollingClient(dispatcher, CLIENT, Mailboxes(), quiet).client_id == CLIENT
    assert dispatcher.learner.client == ClientInfo(CLIENT, 0, 1, 0)
