import inspect

import pytest

from fedbench import errors


def classes():
    return [
        value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, Exception)
    ]


def test_there_is_one_root():
    assert all(issubclass(cls, errors.FedbenchError) for cls in classes())


def test_the_docstring_shows_the_whole_tree():
    shown = {word for word in errors.__doc__.replace("├", " ").split() if word[0].isupper()}
    assert {cls.__name__ for cls in classes()} <= shown


@pytest.mark.parametrize(
    ("child", "parent"),
    [
        (errors.PeerLost, errors.ConnectionBroken),
        (errors.ConnectionBroken, errors.TransportError),
        (errors.ConnectionClosed, errors.TransportError),
        (errors.RoutingError, errors.TransportError),
        (errors.TensorStoreFull, errors.TransportError),
        (errors.LocalProtocolError, errors.ProtocolError),
        (errors.RemoteProtocolError, errors.ProtocolError),
        (errors.RemoteError, errors.RpcError),
        (errors.DeadlineExceeded, errors.RpcError),
        (errors.QuorumNotReached, errors.TrainingError),
        (errors.UnfitModel, errors.TrainingError),
    ],
)
def test_branches(child, parent):
    assert issubclass(child, parent)


def test_config_error_keeps_every_problem():
    problems = [errors.Problem("clients[2].type", "is unknown"), errors.Problem("", "is empty")]
    error = errors.ConfigError("fed.yaml", problems)
    assert str(error) == "fed.yaml: clients[2].type: is unknown; is empty"
    assert (error.source, error.problems) == ("fed.yaml", problems)


def test_errors_carry_what_they_name():
    lost = errors.PeerLost("memory_client_1", "killed")
    assert (lost.peer_id, lost.reason, str(lost)) == (
        "memory_client_1",
        "killed",
        "lost memory_client_1: killed",
    )
    routing = errors.RoutingError("a", "b", "unknown")
    assert (routing.source, routing.target, routing.reason) == ("a", "b", "unknown")
    assert str(routing) == "no route from 'a' to 'b': unknown"
    remote = errors.RemoteError("n", "KeyError", "'k'", "Traceback")
    assert (remote.node_id, remote.type_name, remote.message, remote.traceback_text) == (
        "n",
        "KeyError",
        "'k'",
        "Traceback",
    )
    assert str(remote) == "n raised KeyError: 'k'"
    quorum = errors.QuorumNotReached(3, 1, 2, {"c1": "late", "c2": "lost"})
    assert (quorum.round_number, quorum.arrived, quorum.required) == (3, 1, 2)
    assert str(quorum) == "round 3: 1 of the required 2 updates arrived (c1: late; c2: lost)"
