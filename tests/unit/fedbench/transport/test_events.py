import pytest

from fedbench.messages import Kind, Message
from fedbench.tensors.model import ModelState
from fedbench.transport.events import Events
from fedbench.transport.receipt import Ledger, Receipt


def message(kind=Kind.CLIENT_NOTIFY, method="tick", body=1, tensors=None):
    return Message(kind, "a", "b", method, body, tensors)


async def hand(events, sent):
    delivery = Receipt(Ledger())
    delivery.ack()
    events.dispatch(sent, delivery)
    await delivery.applied


async def test_handlers_get_the_source_and_the_data_or_the_model():
    events, seen, model = Events(), [], ModelState.from_arrays({"w": [1.0]})
    events.register("tick", lambda source, data: seen.append((source, data)))
    await hand(events, message())
    await hand(events, message(Kind.MODEL_PUSH, body=None, tensors=model))
    await hand(events, message(method="tock"))
    assert seen == [("a", 1), ("a", model)]


@pytest.mark.parametrize("kind", [Kind.RPC_REQUEST, Kind.HEARTBEAT])
async def test_only_events_and_models_reach_handlers_by_type(kind):
    events, seen = Events(), []
    events.register("tick", lambda source, data: seen.append("by type"))
    events.subscribe(lambda heard: seen.append(heard.kind))
    await hand(events, message(kind))
    assert seen == [kind]


async def test_removing_twice_removes_one():
    events, seen = Events(), []

    def handler(heard):
        seen.append(1)

    first, second = events.subscribe(handler), events.subscribe(handler)
    first()
    first()
    await hand(events, message())
    assert seen == [1]
    second()
    seen.clear()
    await hand(events, message())
    assert seen == []
    await events.close()
