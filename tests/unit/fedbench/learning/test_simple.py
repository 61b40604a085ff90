"""SimpleLearner learns, and the same inputs give the same update."""

from __future__ import annotations

import numpy as np
import pytest

from fedbench.learning.aggregation import StreamingAverage
from fedbench.learning.digits import load_digits
from fedbench.learning.simple import SimpleLearner
from fedbench.values import ClientInfo, RoundInfo


def learners(count=10, seed=7, **args):
    return [SimpleLearner(ClientInfo(f"c{index}", index, count, seed), **args) for index in range(count)]


def test_begins_with_zeros():
    model = learners()[0].initial_model()
    assert [(name, array.shape, array.dtype) for name, array in model.items()] == [
        ("weights", (64, 10), np.float32),
        ("bias", (10,), np.float32),
    ]
    assert model.version == 0
    assert not model["weights"].any()
    metrics = learners()[0].evaluate(model)
    assert metrics["loss"] == pytest.approx(np.log(10), rel=1e-5)
    assert metrics["accuracy"] == np.mean(load_digits().test_y == 0)


def test_an_update_improves_on_the_clients_own_data_and_leaves_the_model_alone():
    learner = learners()[3]
    model = learner.initial_model()
    before = model["weights"].tobytes()
    result = learner.train(model, RoundInfo(1, 1, 11))
    assert result.metrics["loss"] < np.log(10) / 2
    assert result.metrics["accuracy"] > 0.7
    assert result.model.layout == model.layout
    assert result.model.version == 1
    assert model["weights"].tobytes() == before


def test_one_step_is_the_gradient_of_the_cross_entropy():
    learner = learners(epochs=1, batch_size=10**6, learning_rate=0.1)[0]
    model = learner.initial_model()
    update = learner.train(model, RoundInfo(1, 1, 1)).model
    images, labels = (part.astype(np.float64) for part in learner._examples())
    error = np.full((len(labels), 10), 0.1) - np.eye(10)[labels.astype(int)]
    assert np.allclose(update["weights"], -0.1 * images.T @ error / len(labels), atol=1e-7)
    assert np.allclose(update["bias"], -0.1 * error.mean(axis=0), atol=1e-7)


def test_the_same_round_gives_the_same_update_and_ids_do_not_matter():
    model = learners()[0].initial_model()
    info = RoundInfo(2, 5, 99)
    first = learners()[1].train(model, info)
    again = SimpleLearner(ClientInfo("another", 1, 10, 7)).train(model, info)
    assert first.model == again.model
    assert (first.num_examples, first.metrics) == (again.num_examples, again.metrics)
    assert learners()[1].train(model, RoundInfo(2, 5, 100)).model != first.model


def test_examples_are_dealt_out_completely():
    model = learners()[0].initial_model()
    info = RoundInfo(1, 1, 1)
    dealt = [learner.train(model, info).num_examples for learner in learners(epochs=1)]
    assert sum(dealt) == 1437
    assert len(set(dealt)) > 1


@pytest.mark.slow
@pytest.mark.parametrize("seed", [7, 1, 2])
def test_ten_clients_reach_their_accuracy_in_twenty_rounds(seed):
    clients = learners(seed=seed)
    model = clients[0].initial_model()
    for number in range(1, 21):
        average = StreamingAverage(model, len(clients))
        for learner in clients:
            result = learner.train(model, RoundInfo(number, 20, 1000 * seed + number))
            average.add(learner.client.index, result.model, result.num_examples)
        model = average.finish(number)
    assert clients[0].evaluate(model)["accuracy"] >= 0.93


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"epochs": 0}, "epochs is 0: it must be at least 1"),
        ({"batch_size": 0}, "batch_size is 0: it must be at least 1"),
        ({"alpha": 0.0}, "alpha is 0.0: it must be finite and above 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
    ],
)
def test_arguments_out_of_range_are_named(args, message):
    with pytest.raises(ValueError, match=message):
        learners(**args)
