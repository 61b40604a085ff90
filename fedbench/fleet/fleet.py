"""Fleet: child processes, started together, watched, brought back, and ended together."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import multiprocessing.process
import os
import signal
import termios
from typing import TYPE_CHECKING, Any, NamedTuple

from fedbench.fleet import starting
from fedbench.loop import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from multiprocessing.context import ForkServerProcess, SpawnProcess

    from fedbench.fleet.settings import FleetSettings, StartMethod

log = logging.getLogger("fedbench.fleet")

TERM_GRACE_S = 1.5
CODE_WAIT_S = 1.0


class Exit(NamedTuple):
    """How a child ended.

    Attributes:
        pid: Its process.
        exitcode: Its exit code, negative for the signal that killed it; None if nobody knows, because the
            fork server that would has died or does not answer.
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
        preload: Modules that a fork server loads beside the target's, for all children at once.
    """

    def __init__(
        self,
        target: Callable[[str, int, Any], None],
        settings: FleetSettings,
        *,
        on_exit: Callable[[str, Exit], None],
        preload: tuple[str, ...] = (),
    ) -> None:
        self._target = target
        self._settings = settings
        self._on_exit = on_exit
        self._preload = (target.__module__, *preload)
        self._specs: dict[str, Any] = {}
        self._children: dict[str, _Child] = {}
        self._stopping = False
        self._all_gone = asyncio.Event()
        self._all_gone.set()
        self._starts: set[asyncio.Task[None]] = set()

    async def start(self, specs: Mapping[str, Any]) -> None:
        """Start a child for each id. Returns when every process exists.

        Args:
            specs: Id to what the child is told, which multiprocessing hands over.

        Raises:
            OSError: A process cannot be made; those that were made run until :meth:`stop`.
            EOFError: The fork server was killed meanwhile; likewise.
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

        Cancelling it leaves the fleet as it is then: nothing more is started, and it can be stopped again.

        Args:
            grace_s: Seconds until what still runs gets SIGTERM; 1.5 s later it gets SIGKILL.
            warn: Whether having to send SIGTERM is worth a WARNING.
        """
        self._stopping = True
        if self._starts:
            await asyncio.wait(self._starts)
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
        try:
            async with asyncio.timeout(timeout_s):
                await self._all_gone.wait()
        except TimeoutError:
            return False
        return True

    # Starting ----------------------------------------------------------------------------------------

    async def _begin(self, incarnations: Mapping[str, int]) -> None:
        """Start processes in a thread, because each takes milliseconds; :meth:`stop` waits for it."""
        loop = asyncio.get_running_loop()
        task = loop.create_task(in_thread(self._make, loop, incarnations))
        self._starts.add(task)
        task.add_done_callback(self._starts.discard)
        await asyncio.shield(task)

    async def _begin_again(self, child_id: str, incarnation: int) -> None:
        try:
            await self._begin({child_id: incarnation})
        except (OSError, EOFError) as error:
            log.error("%s could not be started again: %s: %s", child_id, type(error).__name__, error)

    def _make(self, loop: asyncio.AbstractEventLoop, incarnations: Mapping[str, int]) -> None:
        context = starting.context(self._settings.start_method, *self._preload)
        with starting.without_interrupts():
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
                child = _Child(process, process.pid, _pidfd(process, process.pid), incarnation)
                loop.call_soon_threadsafe(self._watch, child_id, child)

    # Watching ----------------------------------------------------------------------------------------

    def _watch(self, child_id: str, child: _Child) -> None:
        self._children[child_id] = child
        self._all_gone.clear()
        log.info("%s runs as process %d", child_id, child.pid)
        if child.pidfd < 0:
            self._await_code(child_id, child)
        else:
            asyncio.get_running_loop().add_reader(child.pidfd, self._died, child_id, child)

    def _died(self, child_id: str, child: _Child) -> None:
        asyncio.get_running_loop().remove_reader(child.pidfd)
        self._await_code(child_id, child)

    def _await_code(self, child_id: str, child: _Child) -> None:
        """The process is dead; its exit code may come a moment later, if it comes from the fork server.

        A spawned one is this process's own child. Its sentinel is open as long as any process that it forked.
        """
        if self._settings.start_method == "spawn":
            self._ended(child_id, child)
            return
        loop = asyncio.get_running_loop()
        loop.add_reader(child.process.sentinel, self._ended, child_id, child)
        loop.call_later(CODE_WAIT_S, self._ended, child_id, child)

    def _ended(self, child_id: str, child: _Child) -> None:
        if self._children.get(child_id) is not child:
            return  # its code came in time
        asyncio.get_running_loop().remove_reader(child.process.sentinel)
        if child.pidfd >= 0:
            os.close(child.pidfd)
        del self._children[child_id]
        code = _exit_code(child.process, self._settings.start_method)
        restarted = self._restarts(child_id, child, code)
        if restarted:
            task = asyncio.get_running_loop().create_task(self._begin_again(child_id, child.incarnation + 1))
            self._starts.add(task)
            task.add_done_callback(self._starts.discard)
        if not self._children:
            self._all_gone.set()
        self._on_exit(child_id, Exit(child.pid, code, restarted))

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


def _pidfd(process: ForkServerProcess | SpawnProcess, pid: int) -> int:
    """Return a descriptor of a process that was started; -1 if it has died and the fork server reaped it."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return -1
    except OSError:
        process.kill()  # no descriptor is left: nobody could watch it
        process.join()
        process.close()
        raise


def _exit_code(process: ForkServerProcess | SpawnProcess, method: StartMethod) -> int | None:
    """Return the exit code of a process that is dead, None if nobody tells; without waiting."""
    # multiprocessing would make 255 of the end of the fork server's pipe.
    told = method == "spawn" or any(fcntl.ioctl(process.sentinel, termios.FIONREAD, bytes(4)))
    code = process.exitcode
    with contextlib.suppress(ValueError):  # without a code it counts as running; it is dropped here
        process.close()
    return code if told else None


def _described(code: int | None) -> str:
    if code is None:
        return "in a way that nobody knows"
    if code >= 0:
        return f"with exit code {code}"
    try:
        return f"by {signal.Signals(-code).name}"
    except ValueError:
        return f"by signal {-code}"
