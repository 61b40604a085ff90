#!/usr/bin/env python
"""Write ``fedbench/learning/data/digits.npz`` from scikit-learn's copy of the UCI digits.

The same versions of numpy and zlib write the same bytes: the archive carries no time of its making.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

TARGET = Path(__file__).resolve().parent.parent / "fedbench" / "learning" / "data" / "digits.npz"


def main() -> None:
    """Write the file and say what it holds."""
    pixels, labels = load_digits(return_X_y=True)
    TARGET.parent.mkdir(exist_ok=True)
    np.savez_compressed(TARGET, x=pixels.astype(np.uint8), y=labels.astype(np.uint8))
    print(f"{TARGET}: {len(labels)} examples, {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
