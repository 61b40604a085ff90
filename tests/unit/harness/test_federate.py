import os
import signal
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from rich.console import Console

from fedbench.errors import ConfigError
from fedbench.learning.simple import SimpleLearner
from fedbench.tensors.model import ModelState
from fedbench.values import RoundInfo, TrainResult
from harness.acceptance.outcome import ExitCode
from harness.federate import federate, load_model, save_model

CONFIG = """
mode: memory
loop: {loop}
architecture: {architecture}
server: {{trainer: {{args: {{rounds: {rounds}, quorum: {quorum}, deadline_s: 10.0}}}}}}
clients:
  count: {count}
  learner: {{type: "{learner}"}}
"""
FAULTY = "harness.workloads.learners:FaultyLearner"

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("may_block")]  # log files are written in the loop


class Interrupting(Console):
    """Presses Ctrl-C when a line with a text has been printed."""

    def __init__(self, text: str) -> None:
        super().__init__(file=StringIO(), width=100, record=True)
        self._text = text

    def print(self, *objects: Any, **options: Any) -> None:
        super().print(*objects, **options)
        if any(self._text in str(thing) for thing in objects):
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def console() -> Console:
    return Console(file=StringIO(), width=100, record=True)


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., Path]:
    def write(rounds: int = 2, **values: Any) -> Path:
        path = tmp_path / "config.yaml"
        defaults = {
            "loop": "auto",
            "architecture": "push",
            "learner": "SimpleLearner",
            "quorum": 1.0,
            "count": 3,
        }
        path.write_text(CONFIG.format(rounds=rounds, **{**defaults, **values}))
        return path

    return write


@pytest.fixture
def run(tmp_path: Path, console: Console) -> Callable[..., list[str]]:
    """Run a federation and return the lines printed."""

    def start(
        path: Path,
        save: Path | None = None,
        init: Path | None = None,
        where: Console = console,
        verbose: int = 0,
    ) -> list[str]:
        federate(path, save, init, tmp_path / "logs", where, verbose)
        return where.export_text().splitlines()

    return start


def accuracy(line: str) -> float:
    words = line.split()
    return float(words[words.index("accuracy") + 1])


@pytest.mark.parametrize("architecture", ["push", "polling"])
def test_rounds_are_printed_as_they_end_and_summed_up(run, config, architecture: str) -> None:
    first, one, two, summary, *_ = run(config(architecture=architecture))
    assert first == f"3 clients, 2 rounds, memory mode, {architecture}"
    assert one.startswith("round 1/2  3/3 clients ")
    assert two.startswith("round 2/2  3/3 clients ")
    assert " ms  loss " in two
    assert accuracy(summary) == accuracy(two) > 0.5
    assert "s, 0 updates missing; loss " in summary


def test_training_goes_on_from_a_saved_model(run, config, tmp_path: Path) -> None:
    model = tmp_path / "model.npz"
    lines = run(config(rounds=3), save=model)
    assert f"saved model version 3 to {model}" in lines
    more = run(config(rounds=3), save=model, init=model)
    assert accuracy(more[1]) >= accuracy(lines[1])
    assert accuracy(more[3]) >= accuracy(lines[3]) - 0.02
    assert {path.name for path in tmp_path.iterdir()} == {"config.yaml", "model.npz"}


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_an_interrupted_training_saves_the_model_so_far(run, config, tmp_path: Path, loop: str) -> None:
    where = Interrupting("round   2/500")
    with pytest.raises(typer.Exit) as ended:
        run(config(rounds=500, loop=loop), save=tmp_path / "model.npz", where=where)
    assert ended.value.exit_code == ExitCode.INTERRUPTED
    lines = where.export_text().splitlines()
    assert "interrupted" in lines
    assert len([line for line in lines if line.startswith("round")]) < 10
    saved = load_model(tmp_path / "model.npz")
    assert saved["weights"].any()


def test_a_client_that_raises_is_missed_and_the_others_go_on(run, config, tmp_path: Path) -> None:
    _, one, two, summary, logged = run(config(learner=FAULTY, quorum=0.5))
    assert one.startswith("round 1/2  2/3 clients ")
    assert two.startswith("round 2/2  3/3 clients ")
    assert ", 1 updates missing; " in summary
    assert logged.startswith("1 clients logged to ")
    (log,) = (tmp_path / "logs").iterdir()
    assert log.name == "yaml_client_1.log"
    assert "RuntimeError: injected fault" in log.read_text()


def test_a_missed_quorum_ends_it_and_names_who_failed(
    run, config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as ended:
        run(config(learner=FAULTY), save=tmp_path / "model.npz")
    assert ended.value.exit_code == ExitCode.STACK_FAILED
    error = capsys.readouterr().err
    assert "failed: round 1: 2 of the required 3 updates arrived (yaml_client_1: " in error
    assert "injected fault" in error


def test_verbose_logs_to_stderr(run, config, capsys: pytest.CaptureFixture[str]) -> None:
    run(config(rounds=1), verbose=1)
    assert "registered yaml_client_1" in capsys.readouterr().err.replace("\n", " ")
    run(config(rounds=1))
    assert capsys.readouterr().err == ""


def test_a_terminal_shows_a_bar_meanwhile(run, config) -> None:
    where = Console(file=StringIO(), width=80, force_terminal=True, record=True)
    assert any("round 2/2  3/3 clients" in line for line in run(config(), where=where))


def test_a_quiet_console_stays_quiet(run, config) -> None:
    assert run(config(rounds=1), where=Console(quiet=True, record=True, file=StringIO())) == []


class Failing(SimpleLearner):
    """Fails in every round, the last client in a way of its own."""

    def train(self, model: ModelState, round_info: RoundInfo) -> TrainResult:
        raise OSError("disk full" if self.client.index < self.client.count - 1 else "no disk")


@pytest.mark.parametrize(
    ("clients", "named"),
    [
        (3, "yaml_client_1, yaml_client_2"),
        (8, "yaml_client_1, yaml_client_2, yaml_client_3, yaml_client_4, yaml_client_5 and 2 more"),
    ],
)
def test_clients_that_fail_for_one_reason_share_it(
    run, config, capsys: pytest.CaptureFixture[str], clients: int, named: str
) -> None:
    with pytest.raises(typer.Exit):
        run(config(learner=f"{__name__}:Failing", count=clients))
    failed = capsys.readouterr().err.splitlines()[-1]
    assert failed == (
        f"failed: round 1: 0 of the required {clients} updates arrived ({named}: raised OSError: disk full; "
        f"yaml_client_{clients}: raised OSError: no disk)"
    )


class Stumbling(SimpleLearner):
    """Cannot evaluate the model of the second round."""

    def evaluate(self, model: ModelState) -> dict[str, float]:
        if model.version == 2:
            raise ZeroDivisionError("no examples")
        return super().evaluate(model)


@pytest.mark.parametrize("verbose", [0, 1])
def test_a_learner_that_raises_at_the_server_is_named_and_the_model_so_far_saved(
    run, config, tmp_path: Path, capsys: pytest.CaptureFixture[str], console: Console, verbose: int
) -> None:
    with pytest.raises(typer.Exit) as ended:
        run(config(rounds=3, learner=f"{__name__}:Stumbling"), save=tmp_path / "model.npz", verbose=verbose)
    assert ended.value.exit_code == ExitCode.STACK_FAILED
    error = capsys.readouterr().err
    assert "failed: Stumbling.evaluate raised ZeroDivisionError: no examples\n" in error
    assert ("Traceback (most recent call last)" in error) is (verbose == 1)
    assert ('raise ZeroDivisionError("no examples")' in error) is (verbose == 1)
    printed = console.export_text()
    assert "round 1/3" in printed
    assert f"saved model version 2 to {tmp_path / 'model.npz'}" in printed
    assert load_model(tmp_path / "model.npz")["weights"].any()


# what is refused before training


def refused(run: Callable[..., list[str]], *arguments: Any, **options: Any) -> list[str]:
    with pytest.raises(ConfigError) as error:
        run(*arguments, **options)
    return [error.value.source, *map(str, error.value.problems)]


def test_every_problem_of_the_configuration_is_listed(run, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("mode: memry\nserver: {trainer: {args: {rounds: 0}}}\nclients: {count: many}\n")
    source, *problems = refused(run, path)
    assert source == str(path)
    assert [problem.split(":")[0] for problem in problems] == [
        "mode",
        "server.trainer.args.rounds",
        "clients.count",
    ]


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("missing/model.npz", "the folder of .* does not exist: make it first"),
        (".", "is a folder: name a file"),
    ],
)
def test_a_place_where_nothing_can_be_saved_is_refused(
    run, config, tmp_path: Path, place: str, message: str, console: Console
) -> None:
    with pytest.raises(ConfigError, match=f"--save: .*{message}"):
        run(config(), save=tmp_path / place)
    assert console.export_text() == ""


def test_a_folder_without_permission_is_refused(run, config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    with pytest.raises(ConfigError, match="nothing can be written into the folder"):
        run(config(), save=Path("model.npz"))


def test_a_file_is_no_folder_for_logs(run, config, tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file")
    assert refused(run, config()) == ["--log-dir", f"{tmp_path / 'logs'} is a file: name a folder"]


def test_an_initial_model_of_another_layout_is_refused(run, config, tmp_path: Path) -> None:
    save_model(tmp_path / "model.npz", ModelState.from_arrays({"weights": np.zeros((2, 2), np.float32)}))
    source, problem = refused(run, config(), init=tmp_path / "model.npz")
    assert source == "--init"
    assert "the initial model holds weights (2, 2) <f4, the learner needs weights (64, 10) <f4" in problem


class Empty(SimpleLearner):
    """Has no model to begin with."""

    def initial_model(self) -> Any:
        return None


def test_a_failure_before_the_first_round_is_none_of_the_initial_model(
    run, config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_model(tmp_path / "model.npz", ModelState.from_arrays({"weights": np.zeros((64, 10), np.float32)}))
    with pytest.raises(typer.Exit) as ended:
        run(config(learner=f"{__name__}:Empty"), init=tmp_path / "model.npz")
    assert ended.value.exit_code == ExitCode.STACK_FAILED
    assert "failed: Empty.initial_model returned no ModelState" in capsys.readouterr().err


def damaged_zip(path: Path) -> None:
    save_model(path, ModelState.from_arrays({"weights": np.arange(1000, dtype=np.float32)}))
    path.write_bytes(path.read_bytes()[:2000])


def one_array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros(3))


def bad_checksum(path: Path) -> None:
    save_model(path, ModelState.from_arrays({"weights": np.arange(1000, dtype=np.float32)}))
    data = bytearray(path.read_bytes())
    data[1000] ^= 255
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: None, "cannot be read: No such file or directory"),
        (lambda path: path.mkdir(), "cannot be read: Is a directory"),
        (lambda path: path.write_text("hello"), "holds no model"),
        (lambda path: path.write_bytes(b""), "holds no model"),
        (lambda path: np.savez(path), "holds no model"),
        (lambda path: np.savez(path, a=np.array(["text"])), "holds no model"),
        (lambda path: np.savez(path, a=np.array([{}], dtype=object)), "holds no model"),
        (one_array, "holds no model: it is no .npz file"),
        (damaged_zip, "holds no model"),
        (bad_checksum, "holds no model"),
    ],
    ids=[
        "missing",
        "folder",
        "text",
        "empty file",
        "no array",
        "strings",
        "objects",
        "npy",
        "cut",
        "flipped",
    ],
)
def test_a_file_that_holds_no_model_is_refused(tmp_path: Path, write, message: str) -> None:
    path = tmp_path / "model.npz"
    write(path)
    with pytest.raises(ConfigError, match=f"model.npz: {message}"):
        load_model(path)


def test_a_model_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    model = ModelState.from_arrays({"b": np.float64([[1, 2]]), "a/c": np.arange(3)})
    save_model(tmp_path / "model", model)
    assert load_model(tmp_path / "model") == model
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_model_may_have_arrays_of_any_name(tmp_path) -> None:
    model = ModelState.from_arrays({"file": np.ones(3), "allow_pickle": np.zeros((2, 2), np.float32)})
    save_model(tmp_path / "m.npz", model)
    assert load_model(tmp_path / "m.npz") == model


def test_a_model_that_cannot_be_saved_leaves_nothing_half(tmp_path, monkeypatch) -> None:
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array", full)
    with pytest.raises(OSError, match="No space left"):
        save_model(tmp_path / "m.npz", ModelState.from_arrays({"w": np.ones(3)}))
    assert list(tmp_path.iterdir()) == []
