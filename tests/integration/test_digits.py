"""The real training, end to end: both architectures, both loops, the example's own configurations."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedbench import Federation, History
from fedbench.loop import LoopName, run

CONFIGS = Path(__file__).parents[2] / "scripts" / "configs"


def _train(name: str, loop: LoopName) -> History:
    return run(Federation.from_yaml(CONFIGS / name).run(), loop)


@pytest.mark.slow
def test_both_architectures_learn_the_digits_to_the_same_model_bit_for_bit() -> None:
    histories = [
        _train("digits.yaml", "uvloop"),
        _train("digits.yaml", "asyncio"),
        _train("digits_polling.yaml", "uvloop"),
    ]
    for history in histories:
        assert len(history.rounds) == 20
        assert all(len(record.arrived) == 10 and not record.failures for record in history.rounds)
        assert history.metrics["accuracy"] >= 0.90
        assert history.model == histories[0].model
        assert history.metrics == histories[0].metrics


@pytest.mark.slow
def test_named_clients_with_partial_participation_learn_too() -> None:
    history = _train("named_clients.yaml", "auto")
    assert {len(record.selected) for record in history.rounds} == {2}
    assert len({record.selected for record in history.rounds}) > 1
    assert history.metrics["accuracy"] > 0.8
