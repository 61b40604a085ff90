from pathlib import Path

import pytest

from harness.stacks.federation import FederationStack
from harness.stacks.floors import FloorStack
from harness.stacks.grpc_aio import GrpcAioStack
from harness.stacks.registry import OWN, create_stack, stack_names

PLUGIN = """
class Peer:
    def __init__(self, mode, settings):
        self.name, self.mode, self.settings = "peer", mode, settings
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a distribution with two entry points, one under a name of this project's own."""
    (tmp_path / "peer_stack.py").write_text(PLUGIN)
    info = tmp_path / "peer_stack-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: peer-stack\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[fedbench.stacks]\npeer = peer_stack:Peer\npush = peer_stack:Peer\n"
    )
    monkeypatch.syspath_prepend(tmp_path)


def test_own_stacks_come_first() -> None:
    assert tuple(stack_names()[: len(OWN)]) == OWN == ("push", "polling", "floors", "grpc_aio")


@pytest.mark.parametrize("name", ["push", "polling"])
def test_both_architectures_are_stacks(name: str) -> None:
    stack = create_stack(name, "memory", {})
    assert isinstance(stack, FederationStack)
    assert stack.name == name


def test_floors_are_a_stack_without_settings() -> None:
    assert isinstance(create_stack("floors", "memory", {}), FloorStack)
    with pytest.raises(ValueError, match="'floors' has no settings, found depth"):
        create_stack("floors", "memory", {"depth": 3})


def test_a_peer_is_a_stack_without_settings() -> None:
    assert isinstance(create_stack("grpc_aio", "network", {}), GrpcAioStack)
    with pytest.raises(ValueError, match="'grpc_aio' has no settings, found depth"):
        create_stack("grpc_aio", "network", {"depth": 3})


def test_push_has_no_settings() -> None:
    with pytest.raises(ValueError, match="'push' has no settings, found poll_interval_s"):
        create_stack("push", "memory", {"poll_interval_s": 1})


def test_an_unknown_stack_names_those_there_are() -> None:
    with pytest.raises(ValueError, match="unknown stack 'pull': known are push, polling, floors"):
        create_stack("pull", "memory", {})


@pytest.mark.usefixtures("plugin")
def test_others_plug_in_but_take_no_name_of_ours() -> None:
    assert stack_names() == [*OWN, "peer"]
    stack = create_stack("peer", "process", {"port": 1})
    assert (stack.name, vars(stack)["mode"], vars(stack)["settings"]) == ("peer", "process", {"port": 1})
    assert isinstance(create_stack("push", "memory", {}), FederationStack)
    with pytest.raises(ValueError, match="grpc_aio, peer"):
        create_stack("none", "memory", {})
