"""What waits in pipes and sockets, each once; see test_memory for processes that hold much."""

import errno
import os
import socket

import pytest

from harness.probes import queues
from harness.probes.procfs import open_files
from harness.probes.queues import Queues


def waiting(*fds: int) -> int:
    """Return what waits in some of this process's pipes and sockets."""
    found = Queues()
    for _ in range(2):  # counted once
        files = open_files(os.getpid())
        found.add(os.getpid(), {fd: files[fd] for fd in fds})
    assert not found.denied
    return found.total_bytes()


def test_a_pipe_counts_once_by_what_waits_in_it() -> None:
    read, write = os.pipe()
    fds = read, write, os.dup(read)
    assert waiting(*fds) == 0
    os.write(write, bytes(5000))
    assert waiting(*fds) == 5000
    os.read(read, 3000)
    assert waiting(*fds) == 2000
    for fd in fds:
        os.close(fd)


def test_a_socket_counts_by_the_memory_of_its_buffers_and_one_that_listens_by_none() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as one,
        listener.accept()[0] as other,
    ):
        fds = listener.fileno(), one.fileno(), other.fileno()
        assert waiting(*fds) == 0
        one.sendall(bytes(20_000))
        assert 20_000 <= waiting(*fds) < 80_000
        while waiting(*fds):
            other.recv(20_000)


def test_what_is_closed_meanwhile_and_who_is_gone_have_nothing(spawn) -> None:
    child = spawn("print('ready', flush=True); input()")
    files = open_files(child.pid)
    beyond = {fd + 500: file for fd, file in files.items()}
    found = Queues()
    found.add(child.pid, beyond)
    assert (found.total_bytes(), found.denied) == (0, False)
    child.end()
    found.add(child.pid, files)
    assert (found.total_bytes(), found.denied) == (0, False)
    assert open_files(child.pid) == {}


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOSYS])
def test_what_may_not_be_borrowed_is_denied(spawn, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    child = spawn("print('ready', flush=True); input()")
    monkeypatch.setattr(queues._libc, "syscall", lambda *arguments: -1)
    monkeypatch.setattr(queues.ctypes, "get_errno", lambda: code)
    found = Queues()
    found.add(child.pid, open_files(child.pid))
    assert found.denied
