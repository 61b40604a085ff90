"""The digits: real data small enough to travel with the package.

Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
Repository, 1998, https://doi.org/10.24432/C50P49, licence CC BY 4.0; its test part of 1797 images, in
scikit-learn's copy. ``scripts/make_digits.py`` wrote the file.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

PIXELS = 64
CLASSES = 10
TEST_EVERY = 5
SPLIT_SEED = 0
MIN_SHARE = 8
"""Examples that every client has at least, where there are enough for all."""

_FILE = Path(__file__).parent / "data" / "digits.npz"
_BRIGHTEST = 16  # pixels count the dark points of a 4 by 4 field


class Digits(NamedTuple):
    """Images of 8 by 8 pixels and what they show, split once for all into two parts.

    Attributes:
        train_x: float32 of shape (1437, 64), from 0 to 1, read-only.
        train_y: int64 of shape (1437,), from 0 to 9, read-only.
        test_x: float32 of shape (360, 64), read-only.
        test_y: int64 of shape (360,), read-only.
    """

    train_x: NDArray[np.float32]
    train_y: NDArray[np.int64]
    test_x: NDArray[np.float32]
    test_y: NDArray[np.int64]


@functools.cache
def load_digits() -> Digits:
    """Read the digits, the first time from the package's file; blocks, so not for the event loop."""
    with np.load(_FILE) as file:
        pixels = file["x"].astype(np.float32) / np.float32(_BRIGHTEST)
        labels = file["y"].astype(np.int64)
    order = np.random.default_rng(SPLIT_SEED).permutation(len(labels))
    test = np.zeros(len(labels), np.bool_)
    test[order[::TEST_EVERY]] = True
    digits = Digits(pixels[~test], labels[~test], pixels[test], labels[test])
    for array in digits:
        array.flags.writeable = False
    return digits


def client_share(labels: NDArray[Any], index: int, count: int, alpha: float, seed: int) -> NDArray[np.int64]:
    """Deal examples to clients, unevenly as in practice, and return those of one client.

    Each class is divided among the clients by proportions drawn from a symmetric Dirichlet distribution; a
    client left with fewer than 8 examples (or than fit, with many clients) is then given some of whoever has
    most. Every example goes to exactly one client. The deal depends on everything but ``index``.

    Source: Hsu, Qi and Brown, "Measuring the Effects of Non-Identical Data Distribution for Federated Visual
    Classification", 2019.

    Args:
        labels: Class of each example, shape (n,).
        index: The client, from 0.
        count: Number of clients, at most n.
        alpha: Concentration, above 0: the smaller, the fewer classes a client sees; 0.5 is markedly uneven.
        seed: Seed of the deal, not negative.

    Returns:
        Positions of the client's examples in ``labels``, ascending, at least one.

    Raises:
        ValueError: An argument is out of its range; the message says which and what the range is.
    """
    if not 1 <= count <= len(labels):
        raise ValueError(
            f"count is {count}: {len(labels)} examples can be dealt to 1 to {len(labels)} clients"
        )
    if not 0 <= index < count:
        raise ValueError(f"index is {index}: with {count} clients it is one of 0 to {count - 1}")
    if not 0 < alpha < np.inf:
        raise ValueError(f"alpha is {alpha}: it must be finite and above 0")
    rng = np.random.default_rng([seed, count])
    owners = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        bounds = np.cumsum(rng.dirichlet(np.full(count, alpha)))[:-1]
        cuts = np.minimum(np.rint(bounds * len(members)).astype(np.int64), len(members))
        for owner, part in enumerate(np.split(members, cuts)):
            owners[part] = owner
    _level(owners, count, min(MIN_SHARE, len(labels) // count))
    return np.flatnonzero(owners == index)


def _level(owners: NDArray[np.int64], count: int, least: int) -> None:
    """Move examples from the largest shares until every client has ``least``."""
    sizes = np.bincount(owners, minlength=count)
    for poor in np.flatnonzero(sizes < least):
        while sizes[poor] < least:
            rich = int(np.argmax(sizes))
            moved = np.flatnonzero(owners == rich)[-int(min(least - sizes[poor], sizes[rich] - least)) :]
            owners[moved] = poor
            sizes[rich] -= len(moved)
            sizes[poor] += len(moved)
