"""Fleet: child processes, started together, watched, brought back, and ended together."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing.process
import os
import signal
from typing import TYPE_CHECKING, Any, NamedTuple

from fedbench.fleet import starting
from fedbench.loop import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from multiprocessing.context import ForkServerProcess, SpawnProcess

    from fedbench.fleet.settings import FleetSettings

log = logging.getLogger("fedbench.fleet")

TERM_GRACE_S = 1.5


class Exit(NamedTuple):
    """How a child ended.

    Attributes:
        pid: Its process.
        exitcode: Its exit code, negative for the signal that killed it; None if nobody knows.
        restarted: Whether it is started again.
    """

    pid: int
    exitcode: int | None
    restarted: bool


class _Child(NamedTuple):
    process: ForkServerProcess | SpawnProcess
    pid: int
    pidfd: int
    incarnation: int


class Fleet:
    """Child processes by id. One event loop.

    A child's death is told by a pidfd, which the kernel completes with the process. The sentinels of
    multiprocessing would report every child dead when the fork server is; they only tell exit codes here.

    Args:
        target: Run in each child as ``target(child_id, incarnation, spec)``; a function of a module.
        settings: How children are started and brought back.
        on_exit: Called with the id and how it ended, for every child that ends.
    """

    def __init__(
        self,
        target: Callable[[str, int, Any], None],
        settings: FleetSettings,
        *,
        on_exit: Callable[[str, Exit], None],
    ) -> None:
        self._target = target
        self._settings = settings
        self._on_exit = on_exit
        self._specs: dict[str, Any] = {}
        self._children: dict[str, _Child] = {}
        self._stopping = False
        self._all_gone: asyncio.Future[None] | None = None
        self._starts: set[asyncio.Task[None]] = set()

    async def start(self, specs: Mapping[str, Any]) -> None:
        """Start a child for each id. Returns when every process exists.

        Args:
            specs: Id to what the child is told, which multiprocessing hands over.
        """
        self._specs = dict(specs)
        await in_thread(starting.allow_descriptors, len(specs))
        await self._begin(dict.fromkeys(specs, 1))

    def pid(self, child_id: str) -> int | None:
        """Return the process of a child, None if it does not run."""
        child = self._children.get(child_id)
        return None if child is None else child.pid

    def kill(self, child_id: str) -> None:
        """Kill a child at once.

        Raises:
            KeyError: There is no such child, or it does not run.
        """
        self._signal(self._children[child_id], signal.SIGKILL)

    async def stop(self, grace_s: float = 2.0, *, warn: bool = True) -> None:
        """Wait for all to end by themselves; terminate, then kill those that do not. Idempotent.

        Args:
            grace_s: Seconds until what still runs gets SIGTERM; 1.5 s later it gets SIGKILL.
            warn: Whether having to send SIGTERM is worth a WARNING.
        """
        self._stopping = True
        await asyncio.gather(*self._starts, return_exceptions=True)
        for number, timeout_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, TERM_GRACE_S), (None, None)):
            if await self._gone(timeout_s) or number is None:
                return
            for child_id, child in self._children.items():
                if warn or number is signal.SIGKILL:
                    log.warning(
                        "%s (process %d) does not end: sending it %s", child_id, child.pid, number.name
                    )
                self._signal(child, number)

    async def _gone(self, timeout_s: float | None) -> bool:
        if not self._children:
            return True
        self._all_gone = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout_s):
                await self._all_gone
        except TimeoutError:
            return False
        finally:
            self._all_gone = None
        return True

    # Starting ----------------------------------------------------------------------------------------

    async def _begin(self, incarnations: Mapping[str, int]) -> None:
        """Start processes in a thread, because each takes milliseconds; :meth:`stop` waits for it."""
        loop = asyncio.get_running_loop()
        task = loop.create_task(in_thread(self._make, loop, incarnations))
        self._starts.add(task)
        task.add_done_callback(self._starts.discard)
        await asyncio.shield(task)

    def _make(self, loop: asyncio.AbstractEventLoop, incarnations: Mapping[str, int]) -> None:
        context = starting.context(self._settings.start_method)
        for child_id, incarnation in incarnations.items():
            if self._stopping:
                return
            process = context.Process(
                target=self._target,
                args=(child_id, incarnation, self._specs[child_id]),
                name=f"fedbench {child_id}",
            )
            process.start()
            # Or every later start would poll it from this thread, as the loop does, and at the end of the
            # program multiprocessing would wait for it.
            multiprocessing.process._children.discard(process)  # type: ignore[attr-defined]
            assert process.pid is not None
            try:
                pidfd = os.pidfd_open(process.pid)
            except ProcessLookupError:
                pidfd = -1  # it has died, and the fork server has reaped it
            child = _Child(process, process.pid, pidfd, incarnation)
            loop.call_soon_threadsafe(self._watch, child_id, child)

    # Watching ----------------------------------------------------------------------------------------

    def _watch(self, child_id: str, child: _Child) -> None:
        self._children[child_id] = child
        log.info("%s runs as process %d", child_id, child.pid)
        if child.pidfd < 0:
            self._await_code(child_id, child)
        else:
            asyncio.get_running_loop().add_reader(child.pidfd, self._died, child_id, child)

    def _died(self, child_id: str, child: _Child) -> None:
        asyncio.get_running_loop().remove_reader(child.pidfd)
        self._await_code(child_id, child)

    def _await_code(self, child_id: str, child: _Child) -> None:
        """The process is dead; its exit code may come a moment later, from the fork server."""
        asyncio.get_running_loop().add_reader(child.process.sentinel, self._ended, child_id, child)

    def _ended(self, child_id: str, child: _Child) -> None:
        asyncio.get_running_loop().remove_reader(child.process.sentinel)
        if child.pidfd >= 0:
            os.close(child.pidfd)
        code = child.process.exitcode  # of a process that is dead, whose code lies in the pipe: no waiting
        child.process.close()
        del self._children[child_id]
        restarted = self._restarts(child_id, child, code)
        self._on_exit(child_id, Exit(child.pid, code, restarted))
        if restarted:
            task = asyncio.get_running_loop().create_task(self._begin({child_id: child.incarnation + 1}))
            self._starts.add(task)
            task.add_done_callback(self._starts.discard)
        if not self._children and self._all_gone is not None and not self._all_gone.done():
            self._all_gone.set_result(None)

    def _restarts(self, child_id: str, child: _Child, code: int | None) -> bool:
        """Log the end of a child and decide what follows."""
        how = _described(code)
        if code == 0 or self._stopping:
            log.info("%s (process %d) ended %s", child_id, child.pid, how)
            return False
        settings = self._settings
        if settings.restart == "never":
            log.warning("%s (process %d) ended %s", child_id, child.pid, how)
            return False
        again = child.incarnation <= settings.max_restarts
        what = f"restart {child.incarnation} of {settings.max_restarts}" if again else "no restart is left"
        log.warning("%s (process %d) ended %s: %s", child_id, child.pid, how, what)
        return again

    def _signal(self, child: _Child, number: signal.Signals) -> None:
        if child.pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(child.pidfd, number)


def _described(code: int | None) -> str:
    if code is None or code >= 0:
        return f"with exit code {code}"
    try:
        return f"by {signal.Signals(-code).name}"
    except ValueError:
        return f"by signal {-code}"
