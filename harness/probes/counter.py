"""What the counters of a changing set of processes have gained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.probes.tree import process_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class TreeCounter:
    """Sums the gains of counters that only grow, over a process tree whose members come and go.

    Whoever is born after `start` counts from zero. Whoever vanishes keeps what its last sample showed: what
    it did after that is lost, so sample before an expected exit. A process whose parent has died is followed
    to its own end. Without `start`, everything since the birth of each process counts. Not safe for use by
    several threads at once.

    Args:
        root_pid: Root of the tree.
        read: Gives the counters of one process by the id of what they count for, an id being unique among all
            processes alive; empty when the process is gone.
    """

    def __init__(self, root_pid: int, read: Callable[[int], Mapping[int, int]]) -> None:
        self._root_pid = root_pid
        self._read = read
        self._pids: list[int] = []
        self._last: dict[int, int] = {}
        self._total = 0

    def start(self) -> None:
        """Count from now.

        Raises:
            ProcessLookupError: The root is gone.
        """
        if not process_tree(self._root_pid):
            raise ProcessLookupError(f"process {self._root_pid}, the root of what is measured, is gone")
        self.sample()
        self._total = 0

    def sample(self) -> int:
        """Read all counters and return the sum of their gains since `start`."""
        alive: list[int] = []
        readings: dict[int, int] = {}
        for pid in dict.fromkeys([*process_tree(self._root_pid), *self._pids]):
            counters = self._read(pid)
            if counters:
                alive.append(pid)
                readings.update(counters)
        for key, reading in readings.items():
            last = self._last.get(key, 0)
            # A counter that has shrunk belongs to a newcomer who was given the id of somebody who died.
            self._total += reading - last if reading >= last else reading
        self._pids, self._last = alive, readings
        return self._total
