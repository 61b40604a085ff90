import os
import textwrap
import time

import pytest

from harness.probes import memory, queues
from harness.probes.memory import (
    Headline,
    Memory,
    MemorySampler,
    headline,
    headline_bytes,
    private_bytes,
    process_memory,
    reset_high_water,
    tree_memory,
)
from harness.probes.tree import process_tree
from tests.pace import limit_s

MIB = 1024 * 1024
HOLDER = """
    print("ready", flush=True)
    input()
    block = bytearray(64 * 1024 * 1024)
    block[::4096] = b"x" * len(block[::4096])
    print("held", flush=True)
    input()
    del block
    print("freed", flush=True)
    input()
"""


def test_anonymous_pages_show_in_pss_and_stay_in_the_high_water_mark(spawn) -> None:
    child = spawn(HOLDER)
    before = process_memory(child.pid)
    child.tell()
    child.hear()
    held = process_memory(child.pid)
    child.tell()
    child.hear()
    freed = process_memory(child.pid)
    assert before is not None
    assert held is not None
    assert freed is not None
    assert before.pss_file_bytes > 0
    assert before.pss_shmem_bytes == 0
    assert held.pss_anon_bytes - before.pss_anon_bytes > 60 * MIB
    assert freed.pss_anon_bytes < before.pss_anon_bytes + 10 * MIB
    assert held.vm_hwm_bytes > 60 * MIB
    assert freed.vm_hwm_bytes > 60 * MIB
    assert reset_high_water([child.pid])
    reset = process_memory(child.pid)
    assert reset is not None
    assert reset.vm_hwm_bytes < 60 * MIB


def test_who_is_gone_needs_no_reset_and_who_is_not_ours_gets_none(
    spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, alive = (spawn("print('ready', flush=True); input()") for _ in range(2))
    gone.end()
    assert reset_high_water([gone.pid, alive.pid])

    def denied(path: str, *arguments: object, **options: object) -> None:
        raise PermissionError(path)

    monkeypatch.setattr("builtins.open", denied)
    assert not reset_high_water([alive.pid])
    assert reset_high_water([gone.pid])


def test_what_is_gone_or_a_zombie_has_no_memory(spawn) -> None:
    child = spawn("print('ready', flush=True)")
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert process_memory(child.pid) is None
    child.end()
    assert process_memory(child.pid) is None
    assert tree_memory([child.pid]) == Memory(0, 0, 0, 0)
    assert tree_memory([]) == Memory(0, 0, 0, 0)


def test_the_sum_is_field_by_field_over_those_that_exist(spawn) -> None:
    alive = [spawn("print('ready', flush=True); input()") for _ in range(2)]
    gone = spawn("print('ready', flush=True); input()")
    gone.end()
    single = process_memory(alive[0].pid)
    total = tree_memory([child.pid for child in (*alive, gone)])
    assert single is not None
    assert total.vm_hwm_bytes > 1.5 * single.vm_hwm_bytes
    assert total.pss_anon_bytes > 1.5 * single.pss_anon_bytes


def test_a_mapped_segment_counts_once_and_also_after_it_is_closed(spawn) -> None:
    child = spawn("""
        import mmap, os
        print("ready", flush=True)
        input()
        path = f"/dev/shm/fb-{os.getuid()}-{os.getpid()}-0-0"
        fd = os.open(path, os.O_RDWR | os.O_CREAT)
        os.posix_fallocate(fd, 0, 16 * 1024 * 1024)
        view = mmap.mmap(fd, 16 * 1024 * 1024)
        view[::4096] = b"x" * 4096
        print("mapped", flush=True)
        input()
        view.close()
        print("closed", flush=True)
        input()
    """)
    before = headline_bytes([child.pid])
    try:
        child.tell()
        child.hear()
        assert tree_memory([child.pid]).pss_shmem_bytes == 16 * MIB
        assert 16 * MIB <= headline_bytes([child.pid]) - before < 24 * MIB
        child.tell()
        child.hear()
        assert tree_memory([child.pid]).pss_shmem_bytes == 0
        assert 16 * MIB <= headline_bytes([child.pid]) - before < 24 * MIB
    finally:
        os.unlink(f"/dev/shm/fb-{os.getuid()}-{child.pid}-0-0")


@pytest.mark.slow
def test_the_sampler_keeps_a_peak_that_has_passed(spawn) -> None:
    child = spawn(HOLDER)
    before = headline_bytes([child.pid])
    with MemorySampler(child.pid, interval_s=0.005) as sampler:
        child.tell()
        child.hear()
        deadline_s = time.monotonic() + limit_s(10)
        while sampler.peak.total_bytes < before + 60 * MIB:
            assert time.monotonic() < deadline_s, "the sampler did not see the block"
            time.sleep(0.005)
        child.tell()
        child.hear()
    assert before + 60 * MIB < sampler.peak.total_bytes < before + 80 * MIB
    assert headline_bytes([child.pid]) < before + 20 * MIB
    assert not sampler._thread.is_alive()


def test_the_first_and_the_last_sample_need_no_interval(spawn) -> None:
    child = spawn(HOLDER)
    sampler = MemorySampler(child.pid, interval_s=3600)
    sampler.start()
    first_bytes = sampler.peak.total_bytes
    child.tell()
    child.hear()
    assert sampler.stop().total_bytes - first_bytes > 60 * MIB
    child.end()
    assert sampler.stop().total_bytes - first_bytes > 60 * MIB


def test_a_root_that_is_gone_cannot_be_sampled(spawn) -> None:
    child = spawn("print('ready', flush=True)")
    child.end()
    with pytest.raises(ProcessLookupError, match=str(child.pid)):
        MemorySampler(child.pid).start()


def test_a_failure_in_the_thread_is_raised_at_stop(spawn, monkeypatch: pytest.MonkeyPatch) -> None:
    child = spawn("print('ready', flush=True); input()")
    sampler = MemorySampler(child.pid, interval_s=0.001)
    sampler.start()

    def refuse(pids: object) -> Headline:
        raise PermissionError("not yours")

    monkeypatch.setattr(memory, "headline", refuse)
    sampler._thread.join()
    with pytest.raises(PermissionError, match="not yours"):
        sampler.stop()


def test_a_sampler_that_costs_much_samples_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[float] = []

    def costly(pids: object) -> Headline:
        taken.append(time.thread_time())
        while time.thread_time() - taken[-1] < 0.002:
            pass
        return Headline(1, 0, 0, 0, "")

    monkeypatch.setattr(memory, "headline", costly)
    sampler = MemorySampler(os.getpid(), interval_s=0.001)
    sampler.start()
    time.sleep(0.6)
    sampler.stop()
    assert 2 <= len(taken) <= 4  # one at the start and one at the end; between them 2 ms allow one each 0.4 s


SIZE = 64 * MIB
FORMS = {
    "memfd": "fd = os.memfd_create('x'); os.truncate(fd, SIZE); fill(mmap.mmap(fd, SIZE))",
    "memfd, closed": "fd = os.memfd_create('x'); os.truncate(fd, SIZE); view = mmap.mmap(fd, SIZE); "
    "fill(view); os.close(fd)",
    "memfd, written and never mapped": "fd = os.memfd_create('x'); os.write(fd, bytes(SIZE))",
    "anonymous shared": "view = mmap.mmap(-1, SIZE); fill(view)",
    "psm_": "segment = SharedMemory(create=True, size=SIZE); fill(segment.buf)",
    "unlinked": "fd = os.open(path, os.O_RDWR | os.O_CREAT); os.unlink(path); os.write(fd, bytes(SIZE))",
    "unlinked and mapped": "fd = os.open(path, os.O_RDWR | os.O_CREAT); os.unlink(path); "
    "os.truncate(fd, SIZE); view = mmap.mmap(fd, SIZE); os.close(fd); fill(view)",
}
SHARED = [form for form in FORMS if "never" not in form]
HOLDS = """
    import fcntl, mmap, os, socket, sys, time
    from multiprocessing.shared_memory import SharedMemory
    SIZE, path = 64 << 20, f"/dev/shm/unnamed-{os.getpid()}"
    def fill(view):
        view[:SIZE:4096] = b"x" * len(view[:SIZE:4096])
    print("ready", flush=True)
    input()
"""


def holder(form: str, then: str = "") -> str:
    """Return the code of a process that holds 64 MiB, does something else, and says so."""
    lines = [*textwrap.dedent(HOLDS).splitlines(), *form.splitlines(), *textwrap.dedent(then).splitlines()]
    return "\n".join([*lines, "print('held', flush=True)", "input()"])


@pytest.mark.parametrize("form", FORMS)
def test_memory_counts_in_whatever_form_it_is_held(spawn, form: str) -> None:
    child = spawn(holder(FORMS[form]))
    before = headline_bytes([child.pid])
    child.tell()
    child.hear()
    assert headline_bytes([child.pid]) - before == pytest.approx(SIZE, abs=2 * MIB)


FORKED = """
alive, end = os.pipe()
seen, see = os.pipe()
if not os.fork():
    os.close(end)
    if "view" in globals(): view[:SIZE:4096]
    if "segment" in globals(): segment.buf[:SIZE:4096].tobytes()
    os.write(see, b".")
    os.read(alive, 1)  # until the other has ended
    os._exit(0)
os.read(seen, 1)
"""


@pytest.mark.parametrize("form", SHARED)
def test_shared_memory_counts_once_for_two(spawn, form: str) -> None:
    child = spawn(holder(FORMS[form], FORKED))
    before = headline(process_tree(child.pid))
    child.tell()
    child.hear()
    tree = process_tree(child.pid)
    assert len(tree) >= 2
    assert headline(tree).shared_bytes - before.shared_bytes == pytest.approx(SIZE, abs=MIB)


SOCKETS = """
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    held = []
    for _ in range(32):
        if kind == "tcp":
            one = socket.create_connection(listener.getsockname())
            other = listener.accept()[0]
        else:
            one, other = socket.socketpair()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        one.setblocking(False)
        sent = 0
        try:
            while True: sent += one.send(bytes(65536))
        except BlockingIOError: pass
        held.append((one, other, sent))
    if kind == "unix, one end closed":
        for one, *_ in held: one.close()
    print(sum(sent for *_, sent in held), flush=True)
"""


def test_what_waits_in_pipes_counts_whoever_holds_them(spawn) -> None:
    pipes = """
        pipes = [os.pipe() for _ in range(100)]
        for _, end in pipes: os.write(end, bytes(65536))
    """
    child = spawn(holder(textwrap.dedent(pipes), FORKED))
    before = headline(process_tree(child.pid))
    child.tell()
    child.hear()
    tree = process_tree(child.pid)
    assert len(tree) == 2
    assert headline(tree).queued_bytes - before.queued_bytes == 100 * 65536


@pytest.mark.parametrize("kind", ["tcp", "unix", "unix, one end closed"])
def test_what_waits_in_sockets_counts(spawn, kind: str) -> None:
    child = spawn(holder(f"kind = {kind!r}\n" + textwrap.dedent(SOCKETS)))
    before = headline([child.pid])
    child.tell()
    sent = int(child.hear())
    child.hear()
    held = headline([child.pid])
    assert sent > 2 * MIB
    assert held.missing == ""
    assert sent * 0.95 <= held.total_bytes - before.total_bytes <= sent * 1.5 + 2 * MIB  # with its headers
    assert held.queued_bytes - before.queued_bytes >= sent * 0.95


def test_who_may_not_look_into_pipes_is_told(spawn, monkeypatch: pytest.MonkeyPatch) -> None:
    child = spawn("print('ready', flush=True); input()")

    def denied(pidfd: int, fd: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(queues, "_borrowed", denied)
    held = headline([child.pid])
    assert (held.missing, held.queued_bytes) == (queues.DENIED, 0)
    assert held.total_bytes == held.anon_bytes + held.shared_bytes > MIB


def test_an_outsider_with_the_same_libraries_changes_nothing(spawn) -> None:
    code = "import json, decimal, ssl, sqlite3; print('ready', flush=True); input()"
    child = spawn(code)
    before, private = headline([child.pid]), private_bytes(child.pid)
    outsiders = [spawn(code) for _ in range(3)]
    after = headline([child.pid])
    assert private_bytes(child.pid) == private > MIB
    assert abs(after.total_bytes - before.total_bytes) < 100_000
    assert after.file_bytes < before.file_bytes - 100_000  # why it is not in the total
    assert len(outsiders) == 3
