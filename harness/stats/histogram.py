"""A mergeable log-linear histogram of durations.

Buckets follow HdrHistogram (Gil Tene, hdrhistogram.org): a value keeps its 11 leading bits, the rest is
dropped. With ``shift = bit_length(value >> 11)`` the bucket is ``shift * 1024 + (value >> shift)``: values
below 2048 have a bucket each, above that a bucket is ``2**shift`` wide and starts at 1024 times its width or
later, so its relative width is at most 1/1024 < 0.1 %. Percentiles must never be averaged: merge, then ask.
"""

from __future__ import annotations

from collections import defaultdict
from math import ceil
from typing import TYPE_CHECKING, Final, TypedDict

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LINEAR_BITS: Final = 10
_MAX_NS: Final = 2**63 - 1


class HistogramData(TypedDict):
    """The stored form: plain data, buckets sparse and in ascending order.

    ``min_ns`` and ``max_ns`` are None when, and only when, the histogram is empty.
    """

    linear_bits: int
    count: int
    sum_ns: int
    min_ns: int | None
    max_ns: int | None
    indices: list[int]
    counts: list[int]


class Histogram:
    """Counts of durations in ns, with exact count, sum, minimum and maximum.

    Not safe for use by several threads at once.

    Attributes:
        count: Number of recorded values.
        sum_ns: Their sum in ns.
    """

    __slots__ = ("_buckets", "_max_ns", "_min_ns", "count", "sum_ns")

    def __init__(self) -> None:
        self._buckets: defaultdict[int, int] = defaultdict(int)
        self._min_ns = _MAX_NS
        self._max_ns = 0
        self.count = 0
        self.sum_ns = 0

    @property
    def min_ns(self) -> int:
        """The smallest value in ns; ValueError when empty."""
        self._refuse_empty()
        return self._min_ns

    @property
    def max_ns(self) -> int:
        """The largest value in ns; ValueError when empty."""
        self._refuse_empty()
        return self._max_ns

    def record(self, value_ns: int) -> None:
        """Count one duration.

        Args:
            value_ns: A Python int in [0, 2**63).

        Raises:
            ValueError: The value is out of range.
        """
        if not 0 <= value_ns <= _MAX_NS:
            raise ValueError(f"duration {value_ns} ns is outside [0, 2**63)")
        self._buckets[_bucket_of(value_ns)] += 1
        self.count += 1
        self.sum_ns += value_ns
        if value_ns < self._min_ns:
            self._min_ns = value_ns
        if value_ns > self._max_ns:
            self._max_ns = value_ns

    def record_many(self, values_ns: NDArray[np.integer]) -> None:
        """Count every duration of an array, with the same result as `record` for each.

        Args:
            values_ns: Integers of any shape that fit int64, in ns, none negative.

        Raises:
            TypeError: The dtype does not fit int64.
            ValueError: A value is negative; nothing has been recorded then.
        """
        values = values_ns.astype(np.int64, casting="safe", copy=False).ravel()
        if values.size == 0:
            return
        low, high = int(values.min()), int(values.max())
        if low < 0:
            raise ValueError(f"duration {low} ns is negative")
        # frexp's exponent of an integer is its bit length, exact because value >> 11 has at most 52 bits.
        shifts = np.frexp((values >> _LINEAR_BITS + 1).astype(np.float64))[1].astype(np.int64)
        indices, counts = np.unique((shifts << _LINEAR_BITS) + (values >> shifts), return_counts=True)
        for index, count in zip(indices.tolist(), counts.tolist(), strict=True):
            self._buckets[index] += count
        self.count += values.size
        # In two halves, because a sum of nanoseconds may exceed 63 bits.
        self.sum_ns += (int((values >> 32).sum()) << 32) + int((values & 0xFFFFFFFF).sum())
        self._min_ns = min(self._min_ns, low)
        self._max_ns = max(self._max_ns, high)

    def merge(self, other: Histogram) -> None:
        """Add everything that ``other`` has counted; ``other`` stays as it is."""
        for index, count in other._buckets.items():
            self._buckets[index] += count
        self.count += other.count
        self.sum_ns += other.sum_ns
        self._min_ns = min(self._min_ns, other._min_ns)
        self._max_ns = max(self._max_ns, other._max_ns)

    def value_at_rank(self, rank: int) -> float:
        """Return an upper bound of the ``rank``-th smallest value, in ns.

        Args:
            rank: From 1 to ``count``.

        Returns:
            The largest value of its bucket, or the maximum if that is smaller: never below the true value,
            and less than 0.1 % above it.

        Raises:
            ValueError: There is no such rank.
        """
        if not 1 <= rank <= self.count:
            raise ValueError(f"rank {rank} of {self.count} recorded values does not exist")
        upper_ns, cumulated = self._cumulated()
        return float(upper_ns[np.searchsorted(cumulated, rank)])

    def percentile(self, p: float) -> float:
        """Return the value at rank ``ceil(p * count)`` in ns: the inverse of the empirical distribution.

        Args:
            p: A fraction in [0, 1]: 0.99 is the 99th percentile. 0 gives the smallest value.

        Raises:
            ValueError: ``p`` is out of range or the histogram is empty.
        """
        if not 0 <= p <= 1:
            raise ValueError(f"percentile {p} is not a fraction in [0, 1]")
        self._refuse_empty()
        return self.value_at_rank(max(1, ceil(p * self.count)))

    def cdf(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the empirical distribution as steps.

        Returns:
            Two float64 arrays of shape (buckets in use,): ascending values in ns, and the exact fraction of
            recorded values that are no larger. Both are empty for an empty histogram.
        """
        upper_ns, cumulated = self._cumulated()
        return upper_ns.astype(np.float64), cumulated / max(1, self.count)

    def to_dict(self) -> HistogramData:
        """Return the histogram as plain data for JSON."""
        indices = sorted(self._buckets)
        return {
            "linear_bits": _LINEAR_BITS,
            "count": self.count,
            "sum_ns": self.sum_ns,
            "min_ns": self._min_ns if self.count else None,
            "max_ns": self._max_ns if self.count else None,
            "indices": indices,
            "counts": [self._buckets[index] for index in indices],
        }

    @classmethod
    def from_dict(cls, data: HistogramData) -> Histogram:
        """Rebuild what `to_dict` returned.

        Raises:
            ValueError: The buckets are of another width, or the parts contradict each other.
        """
        if data["linear_bits"] != _LINEAR_BITS:
            raise ValueError(f"buckets of {data['linear_bits']} linear bits, expected {_LINEAR_BITS}")
        histogram = cls()
        histogram._buckets.update(zip(data["indices"], data["counts"], strict=True))
        histogram.count = sum(data["counts"])
        histogram.sum_ns = data["sum_ns"]
        if data["min_ns"] is not None and data["max_ns"] is not None:
            histogram._min_ns, histogram._max_ns = data["min_ns"], data["max_ns"]
        if histogram.to_dict() != data:
            raise ValueError(
                f"the parts of the stored histogram of {data['count']} values contradict each other"
            )
        return histogram

    def _cumulated(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the largest value of each bucket in use, in ns, and the number of values up to it."""
        indices = np.array(sorted(self._buckets), np.int64)
        counts = np.array([self._buckets[index] for index in indices.tolist()], np.int64)
        shifts = np.maximum((indices >> _LINEAR_BITS) - 1, 0)
        # Shifting the bucket's number + 1 could leave int64 in the last bucket, or'ing the low bits cannot.
        upper_ns = ((indices - (shifts << _LINEAR_BITS)) << shifts) | ((np.int64(1) << shifts) - 1)
        return np.minimum(upper_ns, self._max_ns), np.cumsum(counts)

    def _refuse_empty(self) -> None:
        if self.count == 0:
            raise ValueError("the histogram is empty")


def _bucket_of(value_ns: int) -> int:
    shift = (value_ns >> _LINEAR_BITS + 1).bit_length()
    return (shift << _LINEAR_BITS) + (value_ns >> shift)
