"""JSON mail: exact both ways, and what is no message is refused by name."""

from __future__ import annotations

import base64
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbench.errors import LocalProtocolError, RemoteProtocolError
from fedbench.messages import Kind, Message
from fedbench.polling.jsonmail import decode, encode
from fedbench.tensors.model import ModelState

ATOMS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.binary()
    | st.text(st.characters(exclude_categories=("Cs",)))
)
KEYS = st.text(st.characters(exclude_categories=("Cs",))) | st.integers() | st.sampled_from(["$bytes", "$x"])
PLAIN = st.recursive(ATOMS, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner), max_leaves=20)


def travelled(body):
    return decode(encode(Message(Kind.DATA, "a", "b", body=body))).body


@given(PLAIN)
def test_plain_data_comes_back_as_it_was(body):
    found = travelled(body)
    assert found == body
    assert repr(found) == repr(body), "1 is not 1.0 and not True"


def test_numbers_that_json_has_no_form_for_come_back():
    assert travelled([math.inf, -math.inf]) == [math.inf, -math.inf]
    assert math.isnan(travelled({"loss": math.nan})["loss"])


def test_every_part_of_a_message_comes_back():
    model = ModelState.from_arrays({"w": np.ones(3, np.float32)}, 4)
    message = Message(Kind.MODEL_PUSH, "a", "b", "model", {"x": [1, b"2"]}, model, 7, 8, sent_ns=9)
    found = decode(encode(message))
    assert found == message
    assert found.tensors.version == 4


@pytest.mark.parametrize("dtype", ["?", "i1", "u2", "<i8", "f2", "f4", "f8", "g", "c8", "c16"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 0), (2, 3, 4)])
def test_arrays_come_back_bit_for_bit(dtype, shape):
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = np.random.default_rng(7).integers(0, 2 if dtype == "?" else 256, size, np.uint8)
    array = np.frombuffer(raw.tobytes(), dtype).reshape(shape) if size else np.zeros(shape, dtype)
    model = ModelState.from_arrays({"first": array, "second": np.arange(5)})
    found = decode(encode(Message(Kind.DATA, "a", "b", tensors=model))).tensors
    assert found == model
    assert not found["first"].flags.writeable


def test_an_array_is_base64_of_its_bytes():
    array = np.array([[1.5, -0.0]], np.float32)
    message = Message(Kind.DATA, "a", "b", tensors=ModelState.from_arrays({"w": array}, 2))
    assert json.loads(encode(message))["model"] == {
        "version": 2,
        "tensors": [
            {
                "name": "w",
                "dtype": "<f4",
                "shape": [1, 2],
                "base64": base64.b64encode(array.tobytes()).decode(),
            }
        ],
    }


@pytest.mark.parametrize("body", [lambda: 1, {(1, 2): 3}, "\ud800", {"\ud800": 1}, [10**5000]])
def test_what_json_cannot_carry_is_refused_at_once(body):
    with pytest.raises(LocalProtocolError):
        encode(Message(Kind.DATA, "a", "b", body=body))


def changed(**model):
    """A message whose model says of its array what ``model`` does."""
    tensor = {
        "name": "w",
        "dtype": "<f4",
        "shape": [2],
        "base64": base64.b64encode(bytes(8)).decode(),
        **model,
    }
    return {"kind": "data", "source": "a", "target": "b", "model": {"version": 0, "tensors": [tensor]}}


@pytest.mark.parametrize(
    ("letter", "reason"),
    [
        ([], "Expected `object`"),
        ({"kind": "data", "source": "a"}, "missing required field `target`"),
        ({"kind": "gossip", "source": "a", "target": "b"}, "Invalid enum value 'gossip'"),
        ({"kind": "data", "source": "a", "target": "b", "extra": 1}, "unknown field `extra`"),
        ({"kind": "data", "source": "a", "target": "b", "deadline_ns": -1}, "`int` >= 0"),
        ({"kind": "data", "source": "a", "target": "b", "body": {"$bytes": "?"}}, "bytes of a body"),
        ({"kind": "data", "source": "a", "target": "b", "body": {"$bytes": 1}}, "bytes of a body"),
        ({"kind": "data", "source": "a", "target": "b", "body": [{"$float": "1"}]}, "float of a body"),
        ({"kind": "data", "source": "a", "target": "b", "body": {"$items": 1}}, "items of a body"),
        ({"kind": "data", "source": "a", "target": "b", "body": {"$items": [[[], 1]]}}, r"\[\] is no key"),
        ({"kind": "data", "source": "a", "target": "b", "body": {"$items": [[1]]}}, "items of a body"),
        (changed(shape=[3]), "came with 8 bytes: its dtype and shape need 12"),
        (changed(shape=[-1]), "`int` >= 0"),
        (changed(shape=[1 << 40, 1 << 40]), "refused"),
        (changed(dtype="O"), "only native numbers"),
        (changed(dtype=">f4"), "only native numbers"),
        (changed(base64="&"), "Invalid base64"),
        ({**changed(), "model": {"version": -1, "tensors": []}}, "`int` >= 0"),
        ({**changed(), "model": {"version": 0, "tensors": []}}, "a layout of 0 arrays"),
    ],
)
def test_what_is_no_message_is_refused(letter, reason):
    with pytest.raises(RemoteProtocolError, match=reason):
        decode(json.dumps(letter).encode())


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 100_000, b'{"kind": "data"'])
def test_what_is_no_json_is_refused(data):
    with pytest.raises(RemoteProtocolError, match="a message cannot be read"):
        decode(data)


@pytest.mark.parametrize("depth", [900, 9000])
def test_a_body_nested_without_end_is_refused(depth):
    data = b'{"kind": "data", "source": "a", "target": "b", "body": ' + b"[" * depth + b"]" * depth + b"}"
    with pytest.raises(RemoteProtocolError):
        decode(data)
