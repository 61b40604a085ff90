import os
import time
from pathlib import Path

import pytest

from harness.probes import memory
from harness.probes.memory import (
    Memory,
    MemorySampler,
    headline_bytes,
    process_memory,
    reset_high_water,
    segment_bytes,
    tree_memory,
)
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


def allocate(path: Path, size_bytes: int) -> int:
    """Make a file with its blocks allocated; return their size in bytes."""
    with open(path, "wb") as file:
        file.write(b"x" * size_bytes)
        file.flush()
        os.fsync(file.fileno())
    return os.stat(path).st_blocks * 512


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


def test_segments_count_by_their_owner(tmp_path: Path) -> None:
    mine = allocate(tmp_path / "fb-0-41-1-0", 3 * MIB) + allocate(tmp_path / "fb-0-42-99-7", MIB)
    allocate(tmp_path / "fb-0-43-1-0", MIB)
    allocate(tmp_path / "psm_41", MIB)
    assert mine >= 4 * MIB
    assert segment_bytes({41, 42}, str(tmp_path)) == mine


def test_a_segment_without_an_owner_in_its_name_is_not_hidden(tmp_path: Path) -> None:
    assert segment_bytes(set(), str(tmp_path)) == 0
    unnamed = allocate(tmp_path / "fb-arena", MIB)
    assert segment_bytes(set(), str(tmp_path)) == unnamed > 0


def test_pages_that_were_reserved_but_not_allocated_are_free(tmp_path: Path) -> None:
    with open(tmp_path / "fb-0-1-1-0", "wb") as file:
        file.truncate(64 * MIB)
    assert segment_bytes({1}, str(tmp_path)) < MIB


def test_a_segment_that_vanishes_while_it_is_counted_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "fb-0-1-1-0"
    allocate(path, MIB)

    class Unlinking(set[int]):
        def __contains__(self, pid: object) -> bool:
            path.unlink()
            return True

    assert segment_bytes(Unlinking(), str(tmp_path)) == 0


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
        while sampler.peak_bytes < before + 60 * MIB:
            assert time.monotonic() < deadline_s, "the sampler did not see the block"
            time.sleep(0.005)
        child.tell()
        child.hear()
    assert before + 60 * MIB < sampler.peak_bytes < before + 80 * MIB
    assert headline_bytes([child.pid]) < before + 20 * MIB
    assert not sampler._thread.is_alive()


def test_the_first_and_the_last_sample_need_no_interval(spawn) -> None:
    child = spawn(HOLDER)
    sampler = MemorySampler(child.pid, interval_s=3600)
    sampler.start()
    first_bytes = sampler.peak_bytes
    child.tell()
    child.hear()
    assert sampler.stop() - first_bytes > 60 * MIB
    child.end()
    assert sampler.stop() - first_bytes > 60 * MIB


def test_a_root_that_is_gone_cannot_be_sampled(spawn) -> None:
    child = spawn("print('ready', flush=True)")
    child.end()
    with pytest.raises(ProcessLookupError, match=str(child.pid)):
        MemorySampler(child.pid).start()


def test_a_failure_in_the_thread_is_raised_at_stop(spawn, monkeypatch: pytest.MonkeyPatch) -> None:
    child = spawn("print('ready', flush=True); input()")
    sampler = MemorySampler(child.pid, interval_s=0.001)
    sampler.start()

    def refuse(pids: object) -> int:
        raise PermissionError("not yours")

    monkeypatch.setattr(memory, "headline_bytes", refuse)
    sampler._thread.join()
    with pytest.raises(PermissionError, match="not yours"):
        sampler.stop()


def test_a_sampler_that_costs_much_samples_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[float] = []

    def costly(pids: object) -> int:
        taken.append(time.thread_time())
        while time.thread_time() - taken[-1] < 0.002:
            pass
        return 1

    monkeypatch.setattr(memory, "headline_bytes", costly)
    sampler = MemorySampler(os.getpid(), interval_s=0.001)
    sampler.start()
    time.sleep(0.6)
    sampler.stop()
    assert 2 <= len(taken) <= 4  # one at the start and one at the end; between them 2 ms allow one each 0.4 s
