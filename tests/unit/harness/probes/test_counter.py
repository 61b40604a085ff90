import os
import signal
import subprocess

import pytest

from harness.probes.counter import TreeCounter

LIVE = os.getpid()


def scripted(*steps: dict[int, int]) -> TreeCounter:
    """A counter of this process that reads one of the steps at each sample, and nothing of its children."""
    remaining = iter(steps)
    return TreeCounter(LIVE, lambda pid: next(remaining) if pid == LIVE else {})


def test_only_gains_after_start_count() -> None:
    counter = scripted({1: 100}, {1: 103}, {1: 110})
    counter.start()
    assert counter.sample() == 3
    assert counter.sample() == 10


def test_without_start_everything_since_birth_counts() -> None:
    assert scripted({1: 100}).sample() == 100


def test_newcomers_count_from_zero_and_the_vanished_keep_their_last_value() -> None:
    counter = scripted({1: 100}, {1: 101, 2: 7}, {1: 102}, {1: 103})
    counter.start()
    assert [counter.sample() for _ in range(3)] == [8, 9, 10]


def test_an_id_given_to_somebody_else_counts_from_zero() -> None:
    counter = scripted({1: 100}, {1: 4}, {}, {1: 5})
    counter.start()
    assert [counter.sample() for _ in range(3)] == [4, 4, 9]


def test_starting_again_forgets() -> None:
    counter = scripted({1: 100}, {1: 150}, {1: 151})
    counter.start()
    counter.start()
    assert counter.sample() == 1


def test_a_root_that_is_gone_cannot_be_started() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    with pytest.raises(ProcessLookupError, match=str(process.pid)):
        TreeCounter(process.pid, lambda pid: {pid: 1}).start()


def test_an_orphan_is_followed_to_its_end(spawn) -> None:
    parent = spawn("""
        import subprocess, sys
        leaf = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]
        print("ready", flush=True)
        print(subprocess.Popen(leaf, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL).pid, flush=True)
        input()
    """)
    orphan = int(parent.hear())
    reads: list[int] = []

    def read(pid: int) -> dict[int, int]:
        reads.append(pid)
        return {pid: 1}

    try:
        counter = TreeCounter(parent.pid, read)
        counter.start()
        parent.end()
        reads.clear()
        counter.sample()
        assert orphan in reads
    finally:
        os.kill(orphan, signal.SIGKILL)
