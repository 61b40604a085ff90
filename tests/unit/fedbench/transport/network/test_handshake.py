from __future__ import annotations

import base64
import math
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbench.errors import RemoteProtocolError
from fedbench.netsettings import LEAST_S
from fedbench.transport.network.handshake import (
    MAX_HEADER_BYTES,
    PROTOCOL,
    Hello,
    Welcome,
    read_hello,
    read_welcome,
    shift_ns,
    to_header,
)
from fedbench.transport.network.session import Position

HELLO = Hello(PROTOCOL, "a" * 128, "client", "b" * 128, "c" * 36, 2**62, b"s" * 16, Position((1, 2, 3), 4))
WELCOME = Welcome(3, b"s" * 16, "c", 7, 30.0, 60.0, Position((1, 2, 3), -1))


def test_both_come_back_as_they_went_and_are_small():
    assert read_hello(to_header(HELLO)) == HELLO
    assert read_welcome(to_header(WELCOME)) == WELCOME
    assert len(to_header(HELLO)) < MAX_HEADER_BYTES


@given(
    st.text(max_size=100) | st.binary(max_size=60).map(lambda data: base64.urlsafe_b64encode(data).decode())
)
def test_anything_else_is_refused_by_name(header):
    for read in (read_hello, read_welcome):
        with pytest.raises(RemoteProtocolError):
            read(header)


def test_what_is_too_long_or_of_another_version_is_refused():
    with pytest.raises(RemoteProtocolError, match="oversized"):
        read_hello("A" * (MAX_HEADER_BYTES + 1))
    with pytest.raises(RemoteProtocolError, match="protocol 9 is not spoken"):
        read_hello(to_header(msgspec.structs.replace(HELLO, protocol=9)))


@pytest.mark.parametrize("name", ["heartbeat_s", "resume_window_s"])
@pytest.mark.parametrize("value", [0.0, -1.0, LEAST_S, 1e7, math.inf, -math.inf, math.nan])
def test_a_time_that_no_server_may_have_is_refused_by_name(name, value):
    reason = re.escape(f"its {name} is {value:g}: more than 0.001 and at most 1e+06 is needed")
    with pytest.raises(RemoteProtocolError, match=reason):
        read_welcome(to_header(msgspec.structs.replace(WELCOME, **{name: value})))


def test_a_welcome_without_its_times_is_none():
    old = base64.urlsafe_b64encode(msgspec.msgpack.encode([3, b"s" * 16, "c", 7, [[1, 2, 3], -1]])).decode()
    with pytest.raises(RemoteProtocolError, match="cannot be read"):
        read_welcome(old)


def test_nodes_of_one_machine_share_a_clock_and_others_are_shifted():
    assert shift_ns(HELLO, HELLO.clock_id, 5) == 0
    assert shift_ns(HELLO, "another", HELLO.now_ns + 5) == 5
