"""A learner is found by name, and a wrong name is explained."""

from __future__ import annotations

import sys

import pytest

from fedbench.learning.learner import Learner, resolve_learner
from fedbench.learning.simple import SimpleLearner
from fedbench.values import ClientInfo

CLIENT = ClientInfo("c", 0, 1, 7)


class Own(Learner):
    def initial_model(self):
        raise NotImplementedError

    def train(self, model, round_info):
        raise NotImplementedError

    def evaluate(self, model):
        return {}


NOT_A_LEARNER = dict


def test_keeps_its_client_and_ignores_what_it_does_not_handle():
    learner = Own(CLIENT)
    assert learner.client is CLIENT
    assert learner.on_model_update(None, 1) is None
    assert learner.on_event("e", 1) is None


def test_refuses_arguments_that_no_subclass_took():
    with pytest.raises(TypeError, match="Own does not take the arguments epochs"):
        Own(CLIENT, epochs=3)


def test_a_learner_without_its_methods_cannot_be_made():
    with pytest.raises(TypeError, match="abstract"):
        Learner(CLIENT)


def test_resolves_registered_names_and_paths(monkeypatch):
    assert resolve_learner("SimpleLearner") is SimpleLearner
    assert resolve_learner("fedbench.learning.simple:SimpleLearner") is SimpleLearner
    monkeypatch.setitem(sys.modules, "own_learners", sys.modules[__name__])
    assert resolve_learner("own_learners:Own") is Own


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Simple", r"unknown learner 'Simple': use a registered name \(SimpleLearner\) or module:Class"),
        ("", "unknown learner ''"),
        ("own_learners:", "unknown learner 'own_learners:'"),
        (":Own", "unknown learner ':Own'"),
        ("no_such_module:Own", "importing 'no_such_module' raised ModuleNotFoundError: .* PYTHONPATH"),
        (".relative:Own", "importing '.relative' raised TypeError"),
        ("own_learners:Missing", "'own_learners' has no 'Missing'"),
        ("own_learners:NOT_A_LEARNER", "'own_learners:NOT_A_LEARNER' is no Learner: derive"),
        ("own_learners:CLIENT", "'own_learners:CLIENT' is no Learner: derive"),
    ],
)
def test_a_wrong_name_is_explained(name, message, monkeypatch):
    monkeypatch.setitem(sys.modules, "own_learners", sys.modules[__name__])
    with pytest.raises(ValueError, match=message):
        resolve_learner(name)
