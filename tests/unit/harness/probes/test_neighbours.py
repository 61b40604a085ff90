"""Who runs beside, from made-up looks, recorded texts, and real processes."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.probes import neighbours
from harness.probes.cpustat import TICK_S
from harness.probes.neighbours import Process, Snapshot, gains_ns, members, snapshot

MS = 1_000_000
STAT = (
    "4711 (a) (b) c) S 1 4711 4700 0 -1 {flags} 1 2 3 4 10 20 30 40 20 0 1 0 98765 1000 200 "
    "18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 3 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
)


def process(parent: int = 1, own: int = 0, reaped: int = 0, session: int = 1, started: int = 1) -> Process:
    return Process("it", parent, session, False, 0, started, own * MS, reaped * MS)


def written(folder: Path, text: str, pid: int = 4711) -> str:
    (folder / str(pid)).mkdir()
    (folder / str(pid) / "stat").write_text(text)
    return str(folder)


def test_a_process_is_read_whatever_its_name(tmp_path: Path) -> None:
    proc = written(tmp_path, STAT.format(flags=4194560))
    (tmp_path / "self").mkdir()
    found = snapshot(proc, clock=lambda pid: 5 * MS)
    reaped_ns = round(70 * TICK_S * 1e9)
    assert found == {4711: Process("a) (b) c", 1, 4700, False, 3, 98765, 5 * MS, reaped_ns)}


def test_a_kernel_thread_is_known_by_its_flag(tmp_path: Path) -> None:
    assert snapshot(written(tmp_path, STAT.format(flags=69238880)), clock=lambda pid: 0)[4711].kernel


@pytest.mark.parametrize("text", ["", "4711 (sh) S 1 4711\n"])
def test_who_cannot_be_read_is_left_out(tmp_path: Path, text: str) -> None:
    assert snapshot(written(tmp_path, text), clock=lambda pid: 0) == {}


def test_who_ends_while_being_read_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "12").mkdir()
    assert snapshot(str(tmp_path), clock=lambda pid: 0) == {}
    assert snapshot(written(tmp_path, STAT.format(flags=0)), clock=lambda pid: None) == {}


def test_who_may_not_be_read_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> bytes:
        raise PermissionError(path)

    proc = written(tmp_path, STAT.format(flags=0))
    monkeypatch.setattr(neighbours, "read_bytes", refuse)
    assert snapshot(proc, clock=lambda pid: 0) == {}


def test_all_below_the_root_are_members() -> None:
    now = {2: process(1), 3: process(2), 4: process(3), 5: process(1), 6: process(5)}
    assert members(now, 2) == {2, 3, 4}
    assert members(now, 9) == set()


def test_an_orphan_is_known_by_its_session_or_from_before() -> None:
    before = {2: process(1, session=2), 3: process(2, session=3)}
    now = {
        2: process(1, session=2),
        3: process(1, session=3),
        4: process(1, session=2),
        5: process(3, session=5),
    }
    assert members(now, 2) == {2, 4}
    assert members(now, 2, before, members(before, 2)) == {2, 3, 4, 5}


def test_a_stranger_with_the_id_of_a_member_is_none() -> None:
    before = {2: process(1, session=2), 3: process(2, session=2)}
    now = {2: process(1, session=2), 3: process(1, session=9, started=8)}
    assert members(now, 2, before, {2, 3}) == {2}


@pytest.mark.parametrize(
    ("before", "after", "gained"),
    [
        ({2: process(own=5)}, {2: process(own=8)}, {2: 3}),
        ({}, {2: process(own=8, reaped=1)}, {2: 9}),  # born in between
        ({2: process(own=5)}, {2: process(own=2, started=9)}, {2: 2}),  # another one of that id
        ({2: process(own=5)}, {2: process(own=5, reaped=7)}, {2: 7}),  # a child came and went
        # A child that had used 4 before ended with 10.
        ({2: process(), 3: process(2, own=4)}, {2: process(reaped=10)}, {2: 6}),
        # So did a grandchild together with its parent: 10 in all, of which 1 + 4 before.
        ({2: process(), 3: process(2, own=1), 4: process(3, own=4)}, {2: process(reaped=10)}, {2: 5}),
        # Nobody waited for it.
        ({2: process(), 3: process(2, own=4)}, {2: process()}, {2: 0}),
        # Times of children are in ticks, and rounded.
        ({2: process(reaped=10), 3: process(2, own=4)}, {2: process(reaped=13)}, {2: 0}),
    ],
)
def test_gains_count_children_that_ended(before: Snapshot, after: Snapshot, gained: dict[int, int]) -> None:
    assert gains_ns(before, after) == {pid: ms * MS for pid, ms in gained.items()}


def test_this_process_and_what_its_child_used_are_seen() -> None:
    before = snapshot()
    here = before[os.getpid()]
    assert (here.parent, here.session, here.kernel) == (os.getppid(), os.getsid(0), False)
    begun_s = time.process_time()
    code = "import time\nwhile time.process_time() < 0.2: pass"
    subprocess.run([sys.executable, "-S", "-c", code], check=True)
    own_s = time.process_time() - begun_s
    gained_s = gains_ns(before, snapshot())[os.getpid()] / 1e9
    assert gained_s == pytest.approx(0.2 + own_s, abs=0.1)


def test_a_child_belongs_to_this_process(spawn) -> None:
    child = spawn("print(flush=True)\nimport time\ntime.sleep(60)")
    assert {os.getpid(), child.pid} <= members(snapshot(), os.getpid())
    assert members(snapshot(), child.pid) == {child.pid}
