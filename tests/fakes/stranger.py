"""Stranger: a peer made by hand, from the format alone, so that it can send whatever it likes.

It shares no code with the links and the codec that it is set against, but the hello that is their handshake.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import socket
import struct

import msgspec

from fedbench.transport.network.handshake import PROTOCOL, Hello, to_header

HEAD, CHUNK, TOLD, GOODBYE, BEAT = 1, 2, 3, 4, 5
CONTROL, NEWS, BUSINESS = 0, 1, 2
RPC_REQUEST, RPC_RESPONSE, MODEL_PUSH, CLIENT_NOTIFY, REGISTER, HEARTBEAT = 0, 1, 2, 4, 6, 9
TEXT, BINARY, CLOSE, PING = 1, 2, 8, 9
LARGEST = (256 << 10) + (64 << 10)
"""Most bytes of a WebSocket message."""

_HEADER = struct.Struct("<BBBxQQQQQQQq")


def frame(kind, payload=b"", *, magic=0xFC, lane=0, number=0, offset=0, told=(0, 0, 0, 0, 0, 0)):
    """Return a frame of network mode."""
    return _HEADER.pack(magic, kind, lane, number, offset, *told) + payload


def head(kind, method="", body=None, *, call=0, model=()):
    """Return the payload of a head; ``model`` is its encoded layout, version and size in bytes."""
    data = msgspec.msgpack.encode([kind, method, call, 0, 0, 0, body, *model])
    return struct.pack("<II", len(data), 0) + data


def layout(*entries):
    """Return an encoded layout of names, shapes and dtypes."""
    return msgspec.msgpack.encode(entries)


def message(data, opcode=BINARY, *, first=None, claim=None):
    """Return a WebSocket message; ``first`` takes the place of its first byte, ``claim`` of its size."""
    mask, size = os.urandom(4), len(data) if claim is None else claim
    lead = bytes([0x80 | opcode if first is None else first])
    if size < 126:
        lead += bytes([0x80 | size])
    elif size < 1 << 16:
        lead += struct.pack(">BH", 0x80 | 126, size)
    else:
        lead += struct.pack(">BQ", 0x80 | 127, size)
    key = int.from_bytes((mask * (len(data) // 4 + 1))[: len(data)], "little")
    return lead + mask + (int.from_bytes(data, "little") ^ key).to_bytes(len(data), "little")


def hello(source, target, *, role="client", session=b""):
    """Return the value of the header that says who somebody claims to be."""
    return to_header(Hello(PROTOCOL, source, role, target, "a clock of its own", 1, session))


class Stranger:
    """A TCP connection to a server.

    Attributes:
        reader: What comes.
        writer: What goes.
    """

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    @classmethod
    async def dial(cls, port, ssl=None):
        name = None if ssl is None else "127.0.0.1"
        return cls(*await asyncio.open_connection("127.0.0.1", port, ssl=ssl, server_hostname=name))

    async def send(self, data, *, step=None):
        """Send bytes; with ``step`` only so many at once, each a packet of its own."""
        for start in range(0, len(data), step or len(data) or 1):
            self.writer.write(data[start : start + (step or len(data))])
            await self.writer.drain()
            if step:
                await asyncio.sleep(0)

    async def ask(self, path, *, method="GET", step=None, body=None, **headers):
        """Send a request; return the status of the answer and its headers."""
        headers = {"Host": "127.0.0.1", **headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        await self.send(f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + (body or b""), step=step)
        return await self.answer()

    async def answer(self):
        text = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        status, *lines = text.strip().split("\r\n")
        answered = {}
        for line in lines:
            name, _, value = line.partition(": ")
            answered[name.title()] = value
        return int(status.split()[1]), answered

    async def upgrade(self, client_id, said, *, step=None, body=None, **headers):
        """Ask for a WebSocket, and send ``body`` right behind; return the status and why it was refused."""
        wanted = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
            "X-Fedbench-Hello": said,
        }
        status, answered = await self.ask(f"/ws/{client_id}", step=step, body=body, **{**wanted, **headers})
        return status, answered.get("X-Fedbench-Refused", "")

    async def register(self, *, step=None):
        """Register, as the first control message of a session; return when that is answered."""
        registering = frame(HEAD, head(REGISTER, body={}), lane=CONTROL, number=1)
        await self.send(message(registering), step=step)
        return await self.receive(lambda kind, lane, payload: kind == HEAD and lane == CONTROL)

    async def receive(self, wanted):
        """Return number and payload of the next frame for which ``wanted(type, lane, payload)`` holds."""
        while True:
            first, size = await self.reader.readexactly(2)
            if size == 126:
                (size,) = struct.unpack(">H", await self.reader.readexactly(2))
            elif size == 127:
                (size,) = struct.unpack(">Q", await self.reader.readexactly(8))
            data = await self.reader.readexactly(size)
            if first & 15 == BINARY:
                _, kind, lane, number, *_ = _HEADER.unpack_from(data)
                if wanted(kind, lane, data[_HEADER.size :]):
                    return number, data[_HEADER.size :]

    async def call(self):
        """Return method and number of the next call."""
        _, payload = await self.receive(lambda kind, lane, payload: kind == HEAD and lane == BUSINESS)
        size = int.from_bytes(payload[:4], "little")
        _, method, call, *_ = msgspec.msgpack.decode(payload[8 : 8 + size])
        return method, call

    async def cut(self):
        """Return when the other side has cut the connection, whatever it has said before."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(1 << 16):
                pass

    async def reset(self):
        """Cut the connection as a crash does."""
        linger = struct.pack("ii", 1, 0)
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        await self.close()

    async def close(self):
        self.writer.transport.abort()
        with contextlib.suppress(OSError):  # it was cut before
            await self.writer.wait_closed()
