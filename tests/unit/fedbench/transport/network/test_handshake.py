from __future__ import annotations

import base64

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbench.errors import RemoteProtocolError
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


def test_both_come_back_as_they_went_and_are_small():
    assert read_hello(to_header(HELLO)) == HELLO
    welcome = Welcome(3, b"s" * 16, "c", 7, Position((1, 2, 3), -1))
    assert read_welcome(to_header(welcome)) == welcome
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


def test_nodes_of_one_machine_share_a_clock_and_others_are_shifted():
    assert shift_ns(HELLO, HELLO.clock_id, 5) == 0
    assert shift_ns(HELLO, "another", HELLO.now_ns + 5) == 5
