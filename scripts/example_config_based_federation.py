#!/usr/bin/env python3
"""Run a federation from a YAML file through the public API.

    .venv/bin/python scripts/example_config_based_federation.py [CONFIG]

CONFIG defaults to scripts/configs/digits.yaml: ten clients that learn handwritten digits together.
"""

from __future__ import annotations

import sys
from pathlib import Path

from fedbench import ConfigError, Federation, History, RoundRecord, run

DEFAULT = Path(__file__).parent / "configs" / "digits.yaml"


def show(record: RoundRecord) -> None:
    """Print one round."""
    metrics = "  ".join(f"{name} {value:.4f}" for name, value in record.metrics.items())
    print(
        f"round {record.number:2d}: {len(record.arrived)} clients, {record.round_s * 1e3:.1f} ms, {metrics}"
    )


async def main(path: Path) -> History:
    """Train the federation of ``path`` and return its history."""
    federation = Federation.from_yaml(path)
    return await federation.run(on_round=show)


if __name__ == "__main__":
    try:
        history = run(main(Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT))
    except ConfigError as error:
        sys.exit("\n".join([f"{error.source}:", *(f"  {problem}" for problem in error.problems)]))
    print(f"final model: {history.model}, metrics {history.metrics}")
