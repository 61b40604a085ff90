import collections
import enum
import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbench.errors import LocalProtocolError
from fedbench.messages import BUSINESS_KINDS, CONTROL_KINDS, Channel, Kind, Message, snapshot, weight_bytes
from fedbench.tensors.model import ModelState

ATOMS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
KEYS = st.text() | st.integers()
PLAIN = st.recursive(
    ATOMS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=20
)


def containers(data):
    if isinstance(data, list):
        yield data
        for item in data:
            yield from containers(item)
    elif isinstance(data, dict):
        yield data
        for item in data.values():
            yield from containers(item)


@given(PLAIN)
def test_a_snapshot_is_equal_and_shares_no_container(data):
    copied = snapshot(data)
    assert copied == data
    assert repr(copied) == repr(data)  # types too: True is not 1, 0.0 is not 0
    assert {id(part) for part in containers(copied)}.isdisjoint({id(part) for part in containers(data)})


@given(PLAIN)
def test_a_snapshot_of_a_snapshot_is_the_same(data):
    assert snapshot(snapshot(data)) == snapshot(data)


def test_tuples_become_lists_and_order_of_keys_stays():
    assert snapshot(({"b": (1, 2), "a": ()}, 3)) == [{"b": [1, 2], "a": []}, 3]
    assert list(snapshot({"b": 1, "a": 2})) == ["b", "a"]


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("given_value", "kind"),
    [(np.float64(1.5), float), (np.str_("x"), str), (np.bytes_(b"x"), bytes), (Text("x"), str)],
)
def test_subclasses_of_atoms_become_the_atom(given_value, kind):
    copied = snapshot([given_value])[0]
    assert type(copied) is kind
    assert copied == given_value


def test_nan_stays_nan():
    assert math.isnan(snapshot({"loss": float("nan")})["loss"])


class Colour(enum.IntEnum):
    RED = 1


@pytest.mark.parametrize(
    "bad",
    [
        object(),
        {1, 2},
        np.zeros(2),
        np.float32(1),
        np.bool_(True),
        Colour.RED,
        Kind.DATA,
        collections.OrderedDict(),
        bytearray(b"x"),
        lambda: None,
        1j,
    ],
    ids=lambda bad: type(bad).__name__,
)
@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: [x], lambda x: {"k": {"j": x}}])
def test_what_is_not_plain_is_refused_by_name(bad, wrap):
    with pytest.raises(LocalProtocolError, match=f"{type(bad).__qualname__}: use None, bool.*ModelState"):
        snapshot(wrap(bad))


@pytest.mark.parametrize("key", [None, True, 1.5, b"k", (1,), Text("k")])
def test_keys_are_text_or_integers(key):
    with pytest.raises(LocalProtocolError, match="use str or int"):
        snapshot({key: 1})


def nested(depth):
    data = 0
    for _ in range(depth):
        data = [data]
    return data


def test_the_bound_on_depth():
    assert snapshot(nested(65)) == nested(65)
    with pytest.raises(LocalProtocolError, match="nested deeper than 64"):
        snapshot(nested(66))
    endless = []
    endless.append(endless)
    with pytest.raises(LocalProtocolError, match="contains itself"):
        snapshot(endless)


def test_every_kind_has_one_channel():
    assert set(BUSINESS_KINDS) | set(CONTROL_KINDS) == set(Kind)
    assert not set(BUSINESS_KINDS) & set(CONTROL_KINDS)
    assert [kind.name for kind in BUSINESS_KINDS] == [
        "RPC_REQUEST",
        "RPC_RESPONSE",
        "MODEL_PUSH",
        "PUSH_ACK",
        "CLIENT_NOTIFY",
        "DATA",
    ]
    assert Message(Kind.HEARTBEAT, "a", "b").channel is Channel.CONTROL
    assert Message(Kind.DATA, "a", "b").channel is Channel.BUSINESS
    assert {Kind.DATA: 1}[Kind("data")] == 1


def test_a_message_cannot_be_changed():
    with pytest.raises(AttributeError):
        Message(Kind.DATA, "a", "b").seq = 3


def test_the_fields_of_a_message_can_be_resolved():
    assert {field.name: field.type for field in msgspec.structs.fields(Message)}[
        "tensors"
    ] == ModelState | None


@given(PLAIN)
def test_the_weight_counts_what_is_deep_inside(data):
    def payload(part):
        if isinstance(part, str | bytes):
            return len(part)
        if isinstance(part, list):
            return sum(map(payload, part))
        return sum(map(payload, [*part, *part.values()])) if isinstance(part, dict) else 0

    assert weight_bytes(Message(Kind.DATA, "a", "b", body=data)) >= 256 + payload(data)


def test_the_weight_counts_tensors():
    model = ModelState.from_arrays({"w": np.zeros(1000)})
    bare = weight_bytes(Message(Kind.DATA, "a", "b"))
    assert weight_bytes(Message(Kind.DATA, "a", "b", tensors=model)) == bare + model.nbytes
