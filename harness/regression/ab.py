"""Two revisions of this repository, measured in turn on this machine, each in an environment of its own."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from fedbench.errors import ConfigError, FedbenchError, Problem
from harness.acceptance.outcome import ExitCode
from harness.records.environment import ROOT
from harness.records.store import OBSERVATIONS, Store
from harness.regression import duration, environments
from harness.regression.changes import suspected
from harness.regression.matching import controlled, paired
from harness.regression.stored import Stored, stored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from harness.records.schema import Change, Observation
    from harness.regression.verdict import Detectable, Key, Sides

RUN_TIMEOUT_S = 1800.0
GIT_TIMEOUT_S = 120.0
CLEARING_UP_S = 10.0
ENDED = (ExitCode.OK, ExitCode.FAILED, ExitCode.STACK_FAILED, ExitCode.INCONCLUSIVE)
"""What a run exits with that has measured all that it could."""
SIDES = ("base", "candidate", "base again")


class RevisionFailed(FedbenchError):
    """A revision could not be set up or measured; the message says which, and what it said."""


class Revision(NamedTuple):
    """A revision that is checked out and can be run.

    Attributes:
        name: As it was asked for.
        commit: Its full hash.
        folder: Its worktree, with an environment in ``.venv``.
    """

    name: str
    commit: str
    folder: Path


class Plan(NamedTuple):
    """What is measured of each revision.

    Attributes:
        suite: File of the suite; both revisions run the same.
        blocks: Blocks of each batch.
        seed: Of the order.
        select: Only cells whose ``arm/workload`` matches this; empty for all.
    """

    suite: Path
    blocks: int
    seed: int
    select: str = ""


class Measured(NamedTuple):
    """A batch.

    Attributes:
        base: What the base measured, by block.
        candidate: What the candidate measured.
        again: What the base measured the second time in each block.
    """

    base: Stored
    candidate: Stored
    again: Stored


def resolve(name: str, repository: Path = ROOT) -> str:
    """Return the commit that a revision is.

    Raises:
        ConfigError: It is none, or there is no repository.
    """
    if name.startswith("-"):
        raise ConfigError(name, [Problem("", "is no revision")])
    done = _git(repository, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    if done.returncode:
        hint = "is no revision of this repository; a shallow clone lacks older ones: fetch it first"
        raise ConfigError(name, [Problem("", done.stderr.strip() or hint)])
    return done.stdout.strip()


@contextlib.contextmanager
def checked_out(
    names: Sequence[str],
    say: Callable[[str], None],
    repository: Path = ROOT,
    *,
    kept: Path | None = None,
) -> Iterator[list[Revision]]:
    """Check revisions out into worktrees and make their environments; the worktrees are removed at the end.

    Args:
        names: The revisions; two that are the same commit share a worktree.
        say: Told what is being done.
        repository: The repository.
        kept: Where environments are kept between comparisons; None to make them anew, and keep none.

    Raises:
        ConfigError: One is no revision.
        RevisionFailed: One cannot be checked out or set up.
    """
    commits = [resolve(name, repository) for name in names]
    parent = Path(tempfile.mkdtemp(prefix="fedbench-ab-"))
    try:
        with contextlib.ExitStack() as places:
            trees: dict[str, Path] = {}
            for commit in dict.fromkeys(commits):
                key = environments.key_of(_made_of(commit, repository))
                place = places.enter_context(environments.place(key, kept, parent / commit[:12]))
                _set_up(commit, place, repository, say)
                places.callback(place.keep)
                trees[commit] = place.tree
            yield [Revision(name, commit, trees[commit]) for name, commit in zip(names, commits, strict=True)]
    finally:
        shutil.rmtree(parent, ignore_errors=True)
        with contextlib.suppress(RevisionFailed):  # what matters is why it came to this
            _git(repository, "worktree", "prune")


def measure(base: Revision, candidate: Revision, plan: Plan, say: Callable[[str], None]) -> Measured:
    """Measure both revisions block by block, in random order and fresh processes.

    The base runs a second time in each block, as a control.

    Raises:
        RevisionFailed: A revision could not run the suite.
    """
    rng = random.Random(plan.seed)
    found: dict[str, list[Observation]] = {side: [] for side in SIDES}
    sides = dict(zip(SIDES, (base, candidate, base), strict=True))
    begun_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fedbench-ab-runs-") as parent:
        for block in range(1, plan.blocks + 1):
            order = list(SIDES)
            rng.shuffle(order)
            seed = rng.randrange(1 << 30)
            left = duration.left(block - 1, plan.blocks, time.monotonic() - begun_s)
            for side in order:
                say(f"block {block} of {plan.blocks}: {side} ({sides[side].commit[:7]}){left}")
                out = Path(parent) / f"{block} {side}"
                made = _run(sides[side], plan, seed, out)
                found[side] += [replace(observation, block=block) for observation in made]
    return Measured(*(stored(found[side]) for side in SIDES))


def samples_of(batch: Measured, known: Mapping[Key, Detectable]) -> dict[Key, Sides]:
    """Return what of a batch is compared, with its control, and by the test that a calibration found best."""
    samples = controlled(paired(batch.base, batch.candidate), paired(batch.base, batch.again))
    return {key: sides.at(known.get(key)) for key, sides in samples.items()}


def suspects_only(changes: Sequence[Change]) -> str:
    """Return the pattern of the cells that a fresh batch has to measure again."""
    cells = dict.fromkeys(f"{change.arm}/{change.workload}" for change in suspected(changes))
    return f"^({'|'.join(map(re.escape, cells))})$"


def _made_of(commit: str, repository: Path) -> list[str]:
    """Return the files that the environment of a revision follows from; those that it lacks are empty."""
    return [_git(repository, "show", f"{commit}:{name}").stdout for name in environments.MADE_OF]


def _set_up(commit: str, place: environments.Place, repository: Path, say: Callable[[str], None]) -> None:
    folder = place.tree
    _git(repository, "worktree", "prune")  # of a comparison that was killed in this place
    done = _git(repository, "worktree", "add", "--detach", str(folder), commit)
    if done.returncode:
        raise RevisionFailed(f"{commit[:7]} cannot be checked out: {_last(done.stderr)}")
    setup = folder / "scripts" / "setup"
    if not setup.is_file():
        raise RevisionFailed(f"{commit[:7]} has no scripts/setup: it is older than what can be compared")
    there = place.bring()
    say(f"setting up {commit[:7]}{', whose environment was kept' if there else ''}")
    made = _wait_for(["bash", "-c", 'source "$1"', "setup", str(setup)], folder, commit)
    if made.returncode:
        raise RevisionFailed(f"the environment of {commit[:7]} cannot be made: {_last(made.stderr)}")


def _run(revision: Revision, plan: Plan, seed: int, out: Path) -> list[Observation]:
    command = [
        str(revision.folder / ".venv" / "bin" / "fedbench"),
        "run",
        str(plan.suite),
        "--quiet",
        *("--blocks", "1", "--seed", str(seed), "--output", str(out)),
        *(("-k", plan.select) if plan.select else ()),
    ]
    done = _wait_for(command, revision.folder, revision.commit)
    folders = [path.parent for path in out.glob(f"*/{OBSERVATIONS}")]
    if len(folders) != 1 or done.returncode not in ENDED:
        said = _last(done.stderr or done.stdout)
        exited = f"cannot run the suite {plan.suite.name} (exit code {done.returncode})"
        raise RevisionFailed(f"{revision.commit[:7]} {exited}: {said}")
    store = Store(folders[0])
    try:
        ended = store.read_run().ended
    except ConfigError as error:
        raise RevisionFailed(f"{revision.commit[:7]} left no record of its run: {error}") from error
    if ended != "complete":
        raise RevisionFailed(
            f"{revision.commit[:7]} did not complete the suite ({ended}): {_last(done.stderr)}"
        )
    return store.observations()


def _wait_for(command: Sequence[str], folder: Path, commit: str) -> subprocess.CompletedProcess[str]:
    """Run a command of a revision; whatever ends this, it and its children end with it.

    Raises:
        RevisionFailed: It did not end in time.
    """
    # Files, not pipes: a child that it left behind may hold these open.
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(
            command, cwd=folder, env=_environment(), stdout=out, stderr=err, start_new_session=True
        )
        try:
            process.wait(RUN_TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            took = f"did not end within {error.timeout:.0f} s: {' '.join(command[:3])}"
            raise RevisionFailed(f"{commit[:7]} {took}") from error
        finally:
            _end(process)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read())
    return subprocess.CompletedProcess(command, process.returncode, *texts)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process that still runs: let it clear up, then kill what is left of its group."""
    try:
        if process.poll() is None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(CLEARING_UP_S)
    finally:
        with contextlib.suppress(ProcessLookupError):  # nobody of the group is left
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _environment() -> dict[str, str]:
    """Return this environment without what would lead a revision into another's code or repository."""
    foreign = ("PYTHONPATH", "VIRTUAL_ENV", "PYTHONHOME")
    return {k: v for k, v in os.environ.items() if k not in foreign and not k.startswith("GIT_")}


def _git(repository: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["git", *arguments],
            cwd=repository,
            env=_environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=GIT_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RevisionFailed(f"git {arguments[0]} cannot be run: {error}") from error


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " / ".join(lines[-3:]) or "it said nothing"
