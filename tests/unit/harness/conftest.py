import sys
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import NamedTuple

import pytest
from blockbuster.blockbuster import _skip
from matplotlib.figure import Figure

from harness import cli
from harness.probes.disturbance import DisturbanceProbe
from harness.records.environment import fingerprint
from harness.records.schema import Disturbance
from tests.fakes.stored import observations, write


@pytest.fixture(autouse=True, scope="session")
def fonts() -> None:
    """Have matplotlib open the fonts it keeps for the life of the process before descriptors are counted."""
    figure = Figure()
    figure.text(0, 0, "text")
    figure.savefig(BytesIO(), format="svg")


@pytest.fixture
def may_block() -> Iterator[None]:
    """Lift the ban on blocking the event loop, for what blocks it on purpose."""
    _skip.value = True
    yield
    _skip.value = False


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def last(self) -> str:
        return self.out.splitlines()[-1]


@pytest.fixture
def fedbench(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    """Run the command line in this process."""
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["fedbench", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return Done(int(ended.value.code or 0), *capsys.readouterr())

    return run


@pytest.fixture
def undisturbed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the machine for a quiet one: what is tested is what follows from cells that are samples."""
    monkeypatch.setattr(DisturbanceProbe, "take", lambda _: Disturbance())


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Three made-up runs of this machine in a directory of their own: base, same and slow."""
    monkeypatch.chdir(tmp_path)
    here = fingerprint()
    for seed, (name, factors) in enumerate(
        {"base": {}, "same": {}, "slow": {("push", "round", "round_s"): 2.0}}.items()
    ):
        write(tmp_path / name, observations(10, seed=seed, factors=factors), environment=here, suite="check")
    return tmp_path
