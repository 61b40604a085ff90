"""Models that claim to be what they are not, pushed to the server and as updates in the middle of a round."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from fedbench.errors import ConnectionBroken
from tests.fakes.stranger import (
    BUSINESS,
    CHUNK,
    CONTROL,
    HEAD,
    HEARTBEAT,
    MODEL_PUSH,
    RPC_RESPONSE,
    frame,
    head,
    layout,
    message,
)
from tests.integration.network.conftest import BAD, GOOD, resident_bytes, until, within

HONEST = ("w", (1000,), "<f4")
HONEST_BYTES = 4032

LIES = {
    "more bytes than its arrays": ((layout(HONEST), 1, HONEST_BYTES + 64), "claims 4096 bytes"),
    "fewer bytes than its arrays": ((layout(HONEST), 1, HONEST_BYTES - 64), "claims 3968 bytes"),
    "bytes below zero": ((layout(HONEST), 1, -64), "claims -64 bytes"),
    "bytes without arrays": ((b"", 1, 64), "without a layout"),
    "a version below zero": ((layout(HONEST), -1, HONEST_BYTES), "version -1"),
    "no arrays": ((layout(), 1, 64), "a layout of 0 arrays"),
    "two arrays of one name": ((layout(HONEST, HONEST), 1, 2 * HONEST_BYTES), "have the same name"),
    "objects": ((layout(("w", (2,), "|O")), 1, 64), "only native numbers"),
    "texts": ((layout(("w", (2,), "<U9")), 1, 128), "only native numbers"),
    "foreign byte order": ((layout(("w", (2,), ">f4")), 1, 64), "only native numbers"),
    "a dtype of parts": ((layout(("w", (2,), "<f4,<i4")), 1, 64), "only native numbers"),
    "nine dimensions": ((layout(("w", (1,) * 9, "<f4")), 1, 64), "has the shape"),
    "a thousand dimensions": ((layout(("w", (1,) * 1000, "<f4")), 1, 64), "has the shape"),
    "a length below zero": ((layout(("w", (-1000,), "<f4")), 1, HONEST_BYTES), "has the shape"),
    "a product beyond 64 bits": ((layout(("w", (1 << 32, 1 << 32), "<f4")), 1, 64), "has the shape"),
    "a product of 0 beyond 64 bits": ((layout(("w", (1 << 62, 0), "<f8")), 1, 64), "has the shape"),
    "a length beyond 64 bits": ((layout(("w", (1 << 63,), "|i1")), 1, 64), "has the shape"),
    "more than any model": ((layout(("w", (1 << 37,), "|i1")), 1, 1 << 37), "is the most"),
    "a layout of nothing": ((b"\xc1", 1, 64), "a layout cannot be read"),
    "a layout of texts": ((layout("w", "b"), 1, 64), "a layout cannot be read"),
}


@pytest.mark.parametrize("lie", LIES)
async def test_who_pushes_a_model_that_lies_ends_by_name_and_alone(town, lie):
    model, reason = LIES[lie]
    impostor = await town.impostor()
    pushing = head(MODEL_PUSH, "model", model=model)
    await impostor.send(message(frame(HEAD, pushing, lane=BUSINESS, number=1)))
    error = await town.end_of()
    assert type(error) is ConnectionBroken
    assert f"{BAD} broke the protocol: " in str(error)
    assert reason in str(error)
    await impostor.close()
    await town.intact()


@pytest.mark.parametrize(
    ("chunk", "offset", "reason"),
    [
        (bytes(HONEST_BYTES + 1), 0, f"exceeds the {HONEST_BYTES} bytes that were claimed"),
        (bytes(10), 64, "a chunk at 64 came, 0 is the next"),
        (bytes(10), (1 << 64) - 1, "0 is the next"),
    ],
    ids=["too many values", "values elsewhere", "values beyond 64 bits"],
)
async def test_values_that_do_not_fit_the_claim_end_by_name_and_alone(town, chunk, offset, reason):
    impostor = await town.impostor()
    pushing = head(MODEL_PUSH, "model", model=(layout(HONEST), 1, HONEST_BYTES))
    values = frame(CHUNK, chunk, lane=BUSINESS, number=1, offset=offset)
    await impostor.send(message(frame(HEAD, pushing, lane=BUSINESS, number=1)) + message(values))
    assert reason in str(await town.end_of())
    await impostor.close()
    await town.intact()


async def test_a_claim_takes_no_memory_before_values_have_come(town):
    impostor = await town.impostor()
    before_bytes = resident_bytes()
    claim = (1 << 33) - 64
    pushing = head(MODEL_PUSH, "model", model=(layout(("w", (claim,), "|i1")), 1, claim))
    values = frame(CHUNK, bytes(1000), lane=BUSINESS, number=1)
    beat = frame(HEAD, head(HEARTBEAT, body={}), lane=CONTROL, number=1)
    await impostor.send(
        message(frame(HEAD, pushing, lane=BUSINESS, number=1)) + message(values) + message(beat)
    )
    await until(lambda: town.heard("heartbeat"))  # and what came before it
    assert resident_bytes() - before_bytes < 32 << 20
    assert BAD not in town.ended
    await impostor.reset()
    await town.end_of()
    await town.intact()


async def training(town):
    """Begin a round with an impostor among the learners; return it, its call and the round."""
    impostor = await town.impostor()
    await within(impostor.register())
    running = asyncio.create_task(town.round())
    method, call = await within(impostor.call())
    assert method == "train"
    return impostor, call, running


def update(call, array):
    """Return a complete update as messages."""
    nbytes = -(-array.nbytes // 64) * 64
    model = (layout(("w", array.shape, array.dtype.str)), 1, nbytes)
    answer = head(RPC_RESPONSE, body={"num_examples": 1, "metrics": {}}, call=call, model=model)
    values = array.tobytes().ljust(nbytes, b"\0")
    return message(frame(HEAD, answer, lane=BUSINESS, number=1)) + message(
        frame(CHUNK, values, lane=BUSINESS, number=1)
    )


@pytest.mark.parametrize("lie", ["more bytes than its arrays", "objects", "a product beyond 64 bits"])
async def test_an_update_that_lies_costs_the_round_its_sender_only(town, lie):
    impostor, call, running = await training(town)
    model, reason = LIES[lie]
    answer = head(RPC_RESPONSE, body={"num_examples": 1, "metrics": {}}, call=call, model=model)
    await impostor.send(message(frame(HEAD, answer, lane=BUSINESS, number=1)))
    record = await within(running)
    assert record.arrived == GOOD
    assert reason in record.failures[BAD]
    await impostor.close()
    await town.intact()


@pytest.mark.parametrize(
    "array",
    [np.ones(999, np.float32), np.ones((10, 100), np.float32), np.ones(1000, np.float64), np.ones(1000, "?")],
    ids=["too short", "another shape", "another dtype", "booleans"],
)
async def test_an_update_of_another_layout_is_left_out_by_name(town, array):
    impostor, call, running = await training(town)
    await impostor.send(update(call, array))
    record = await within(running)
    assert record.arrived == GOOD
    assert "w" in record.failures[BAD]
    assert str(array.shape) in record.failures[BAD] or array.dtype.name in record.failures[BAD]
    assert BAD not in town.ended  # it broke no protocol
    await impostor.reset()
    await town.end_of()
    await town.intact()


async def test_an_update_by_hand_that_tells_the_truth_counts(town):
    impostor, call, running = await training(town)
    await impostor.send(update(call, np.full(1000, 9.0, np.float32)))
    record = await within(running)
    assert record.arrived == (*GOOD, BAD)
    assert town.federation.global_model["w"][0] == np.float32((1 + 2 + 9) / 3)
