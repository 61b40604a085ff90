"""gRPC's asyncio interface as a stack: bare unary calls with bytes, to servers in child processes.

Nothing stands above gRPC here: no protocol buffers, no layers, no learner. It comes with the development
extra; where grpcio is not installed, everything is unsupported.
"""

from __future__ import annotations

import time
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from fedbench.errors import ConnectionBroken, DeadlineExceeded, Overloaded, RemoteError
from fedbench.loop import run
from harness.stacks.bare import BareStack
from harness.stacks.base import FederationSpec, Unsupported
from harness.stacks.children import HOST, loop_name, serving, tell_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from multiprocessing.connection import Connection

    from fedbench.errors import FedbenchError
    from fedbench.loop import LoopName

    Call = Callable[..., Awaitable[bytes]]

PAYLOAD = bytes(64)
BULK_BYTES = 100_000_000
BULK_SAMPLES = 20
SERVICE = "bench"
# Calls are as large as a model; nothing is shared with another channel, and no proxy stands between.
OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
)


class GrpcAioStack(BareStack):
    """Unary calls over loopback, each client a server of its own process.

    ``ping`` takes bytes. ``floor`` has ``unary``, a call of 64 bytes that come back; ``bulk_down``, one with
    100 MB; and ``bulk_up``, one that returns as many: at most 20 of those, after one that is not timed.
    """

    name = "grpc_aio"
    reason = "grpc_aio has bare calls, but no federation"

    def __init__(self) -> None:
        self._calls: list[Call] = []
        self._open = AsyncExitStack()

    async def start(self, spec: FederationSpec) -> None:
        """Start a process with an echo for each client; learners there are none.

        Raises:
            Unsupported: grpcio is not installed, or clients are to share processes.
        """
        _check()
        if spec.per_process != 1:
            raise Unsupported(f"each client of {self.name} has a process of its own")
        try:
            for _ in range(spec.clients):
                channel = await self._open.enter_async_context(_channel())
                self._calls.append(channel.unary_unary(f"/{SERVICE}/echo"))
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End every process; idempotent."""
        self._calls.clear()
        await self._open.aclose()

    async def ping(self, client: int, payload: Any, *, deadline_s: float) -> Any:
        """Return ``payload`` after a round trip to the ``client``-th client.

        Raises:
            Unsupported: It is no bytes, or nothing is running.
            DeadlineExceeded: No answer came in time.
            Overloaded: One of the two ends has no room for it.
            ConnectionBroken: The server cannot be reached.
            RemoteError: The call ended with any other status of gRPC.
        """
        if not isinstance(payload, bytes):
            raise Unsupported(f"{self.name} carries bytes only, not {type(payload).__name__}")
        if not self._calls:
            raise Unsupported(f"{self.name} is not running")
        try:
            return await self._calls[client](payload, timeout=deadline_s)
        except Exception as error:
            translated = _translated(error, f"{self.name} {client}")
            if translated is None:
                raise
            raise translated from error

    async def floor(self, operation: str, count: int) -> list[int]:
        """Run an operation ``count`` times and return each one's time in ns.

        Raises:
            Unsupported: There is no such operation, or grpcio is not installed.
        """
        operations = {"unary": _unary, "bulk_down": _bulk_down, "bulk_up": _bulk_up}
        if operation not in operations:
            raise Unsupported(f"{self.name} has no floor {operation!r}: use one of {', '.join(operations)}")
        _check()
        async with _channel() as channel:
            return await operations[operation](channel, count)


def _check() -> None:
    if find_spec("grpc") is None:
        raise Unsupported("grpcio is not installed: install fedbench[dev]")


def _translated(error: Exception, server: str) -> FedbenchError | None:
    """Return what the runtime would raise in place of a status of gRPC, None for anything else."""
    import grpc
    from grpc import aio

    if not isinstance(error, aio.AioRpcError):
        return None
    code, details = error.code(), error.details() or ""
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineExceeded(f"{server} did not answer in time")
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return Overloaded(f"{server}: {details}")
    if code is grpc.StatusCode.UNAVAILABLE:
        return ConnectionBroken(f"{server} cannot be reached: {details}", details)
    return RemoteError(server, code.name, details)


@asynccontextmanager
async def _channel() -> AsyncIterator[Any]:
    """Give a channel to a server of a process of its own."""
    from grpc import aio

    async with (
        serving(_server_main, BULK_BYTES, loop_name()) as port,
        aio.insecure_channel(f"{HOST}:{port}", options=OPTIONS) as channel,
    ):
        yield channel


async def _unary(channel: Any, count: int) -> list[int]:
    call = channel.unary_unary(f"/{SERVICE}/echo")
    return [await _timed(call, PAYLOAD, len(PAYLOAD)) for _ in range(count)]


async def _bulk_down(channel: Any, count: int) -> list[int]:
    call, data = channel.unary_unary(f"/{SERVICE}/take"), bytes(BULK_BYTES)
    return [await _timed(call, data, 1) for _ in range(min(count, BULK_SAMPLES) + 1)][1:]


async def _bulk_up(channel: Any, count: int) -> list[int]:
    call = channel.unary_unary(f"/{SERVICE}/give")
    return [await _timed(call, b".", BULK_BYTES) for _ in range(min(count, BULK_SAMPLES) + 1)][1:]


async def _timed(call: Call, request: bytes, expected_bytes: int) -> int:
    start_ns = time.perf_counter_ns()
    answer = await call(request)
    taken_ns = time.perf_counter_ns() - start_ns
    if len(answer) != expected_bytes:
        raise RuntimeError(f"a call brought {len(answer)} bytes instead of {expected_bytes}")
    return taken_ns


def _server_main(far: Connection, size: int, name: LoopName) -> None:
    run(_serve(far, size), name)


async def _serve(far: Connection, size: int) -> None:
    import grpc
    from grpc import aio

    data = bytes(size)

    async def echo(request: bytes, context: Any) -> bytes:
        return request

    async def take(request: bytes, context: Any) -> bytes:
        if len(request) != size:
            raise ValueError(f"{len(request)} bytes came instead of {size}")
        return b"."

    async def give(request: bytes, context: Any) -> bytes:
        return data

    handlers = {
        handler.__name__: grpc.unary_unary_rpc_method_handler(handler) for handler in (echo, take, give)
    }
    server = aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    port = server.add_insecure_port(f"{HOST}:0")
    await server.start()
    try:
        await tell_port(far, port)
    finally:
        await server.stop(None)
