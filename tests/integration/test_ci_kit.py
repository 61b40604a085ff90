"""The workflow and the script of docs/ci, run as CI runs them, with only the measuring made up."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import typer
import yaml

from harness.cli import app
from harness.report.comparison import FORMATS, render_comparison
from tests.fakes.comparisons import fake_comparison
from tests.fakes.github import TOKEN, FakeGitHub, fake_github
from tests.pace import limit_s

ROOT = Path(__file__).parents[2]
KIT = ROOT / "docs" / "ci"
WORKFLOW = yaml.safe_load((KIT / "github-actions.yml").read_text(encoding="utf-8"))
STEPS: list[dict[str, Any]] = WORKFLOW["jobs"]["compare"]["steps"]
SCRIPTS = {step["name"]: step["run"] for step in STEPS if "run" in step}
REPORTS = {"comparison.json", "comparison.html", "comparison.md", "junit.xml", "comment.md"}

STUB = """#!/usr/bin/env bash
set -eu
echo "$*" >> "$STUB_LOG"
if [[ "$1" != ab && -n "$STUB_REAL" ]]; then
  exec "$STUB_REAL" -c "from harness.cli import main; main()" "$@"
fi
command="$1" out=/dev/stdout format=
while (($#)); do
  case "$1" in -o) out="$2" ;; --format) format="$2" ;; esac
  shift
done
if [[ -d "$STUB_RENDERED" ]]; then cat "$STUB_RENDERED/$format" > "$out"; fi
if [[ "$command" == ab ]]; then exit "$STUB_CODE"; fi
"""
VERDICTS = {0: "unchanged", 1: "regressed", 4: "inconclusive"}


class Clone:
    """A repository whose ``fedbench ab`` answers at once; ``fedbench report`` does, or is the real one.

    Attributes:
        path: Where it lies.
        base: Tip of the branch that is merged into; what was forked off is ``fork``.
        head: What is to be compared.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self._git("init", "-q", "-b", "main")
        self.fork = self._commit("one")
        self._git("checkout", "-q", "-b", "change")
        self.head = self._commit("change")
        self._git("checkout", "-q", "main")
        self.base = self._commit("two")
        self._git("checkout", "-q", "change")
        commands = path / ".venv" / "bin"
        commands.mkdir(parents=True)
        (commands / "fedbench").write_text(STUB)
        (commands / "fedbench").chmod(0o755)
        (commands / "python").symlink_to(sys.executable)
        (path / "scripts").mkdir()
        shutil.copy(ROOT / "scripts" / "sticky_comment.py", path / "scripts")
        (path / "scripts" / "setup").write_text('ROOT="$PWD"\n')
        shutil.copytree(KIT, path / "docs" / "ci")
        self._log = path / "stub.log"

    @property
    def commands(self) -> list[str]:
        """What ``fedbench`` was called with."""
        return self._log.read_text().splitlines() if self._log.exists() else []

    @property
    def reports(self) -> set[str]:
        return {path.name for path in (self.path / "fedbench-report").iterdir()}

    def environment(self, code: int, *, record: bool = True, real: bool = False) -> dict[str, str]:
        """Return an environment in which ``fedbench ab`` ends with ``code``, and maybe leaves a record."""
        rendered = self.path / "rendered"
        shutil.rmtree(rendered, ignore_errors=True)
        if record:
            rendered.mkdir()
            found = fake_comparison(verdict=VERDICTS.get(code, "failed"), exit_code=code)
            for format in FORMATS:
                (rendered / format).write_text(render_comparison(found, format), encoding="utf-8")
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.path),
            "PYTHONPATH": str(ROOT),
            "STUB_LOG": str(self._log),
            "STUB_CODE": str(code),
            "STUB_RENDERED": str(rendered),
            "STUB_REAL": sys.executable if real else "",
        }

    def _git(self, *arguments: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
        done = subprocess.run(
            ["git", *who, *arguments],
            cwd=self.path,
            check=True,
            capture_output=True,
            text=True,
            timeout=limit_s(10),
        )
        return done.stdout.strip()

    def _commit(self, message: str) -> str:
        self._git("commit", "-q", "--allow-empty", "-m", message)
        return self._git("rev-parse", "HEAD")


class Runner:
    """Runs the ``run:`` steps of the workflow in order, as the runner of GitHub Actions does.

    Steps that use an action are left out; so are conditions, but for that of a pull request of a fork.
    """

    def __init__(self, clone: Clone, github: FakeGitHub, code: int, strict: str, **stub: bool) -> None:
        self._clone = clone
        self._files = {
            name: clone.path / name for name in ("GITHUB_OUTPUT", "GITHUB_PATH", "GITHUB_STEP_SUMMARY")
        }
        self._environment = {
            **clone.environment(code, **stub),
            **{name: value for name, value in github.environment().items() if name != "GITHUB_TOKEN"},
            **{name: str(path) for name, path in self._files.items()},
        }
        self._known = {
            "github.event.pull_request.base.sha": clone.base,
            "github.event.pull_request.head.sha": clone.head,
            "github.event.pull_request.number": "7",
            "github.token": TOKEN,
            "vars.FEDBENCH_STRICT": strict,
        }
        self.printed = ""
        self.ended: dict[str, int] = {}

    def run(self, *, fork: bool = False) -> Runner:
        """Run until a step fails."""
        shared = self._filled(WORKFLOW["jobs"]["compare"]["env"])
        for step in STEPS:
            if "run" not in step or (
                fork and "head.repo.full_name == github.repository" in step.get("if", "")
            ):
                continue
            path = ":".join([*reversed(self._lines("GITHUB_PATH")), self._environment["PATH"]])
            done = subprocess.run(
                ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
                env={**self._environment, **shared, **self._filled(step.get("env", {})), "PATH": path},
                cwd=self._clone.path,
                capture_output=True,
                text=True,
                timeout=limit_s(18),
                check=False,
            )
            self.printed += done.stdout + done.stderr
            self.ended[step["name"]] = done.returncode
            for line in self._lines("GITHUB_OUTPUT"):
                name, _, value = line.partition("=")
                self._known[f"steps.measure.outputs.{name}"] = value
            if done.returncode and not step.get("continue-on-error"):
                break
        return self

    @property
    def code(self) -> int:
        """How the job ended."""
        return list(self.ended.values())[-1]

    @property
    def summary(self) -> str:
        return "\n".join(self._lines("GITHUB_STEP_SUMMARY"))

    def _lines(self, name: str) -> list[str]:
        path = self._files[name]
        return path.read_text().splitlines() if path.exists() else []

    def _filled(self, environment: dict[str, str]) -> dict[str, str]:
        def known(match: re.Match[str]) -> str:
            return self._known[match[1]]

        return {name: re.sub(r"\$\{\{ (.*?) \}\}", known, text) for name, text in environment.items()}


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path / "clone")


@pytest.fixture
def github() -> Iterator[FakeGitHub]:
    with fake_github() as github:
        yield github


@pytest.fixture
def workflow(clone: Clone, github: FakeGitHub) -> Callable[..., Runner]:
    def run(code: int, *, strict: str = "", fork: bool = False, **stub: bool) -> Runner:
        return Runner(clone, github, code, strict, **stub).run(fork=fork)

    return run


def generic(clone: Clone, *arguments: str, code: int = 0, record: bool = True, **options: str) -> Any:
    environment = clone.environment(code, record=record)
    environment["PATH"] = f"{clone.path / '.venv' / 'bin'}:{environment['PATH']}"
    return subprocess.run(
        ["docs/ci/generic.sh", *arguments],
        env={**environment, **options},
        cwd=clone.path,
        capture_output=True,
        text=True,
        timeout=limit_s(18),
        check=False,
    )


# The workflow ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_pull_request_is_measured_reported_and_commented_on(
    workflow: Callable[..., Runner], clone: Clone, github: FakeGitHub
) -> None:
    first = workflow(1, real=True)
    assert first.ended == {"Install": 0, "Measure": 0, "Render": 0, "Comment": 0, "Verdict": 1}
    assert clone.commands[0].startswith(f"ab {clone.fork} {clone.head} --suite check --format json -o ")
    assert clone.reports == REPORTS
    assert "::error title=regressed%3A push rpc_ping latency_p99_s::" in first.printed
    assert first.summary.startswith("<!-- fedbench:ab -->\n### fedbench: main → 0a1b2c3: REGRESSED")
    second = workflow(0)
    assert second.code == 0
    (comment,) = github.comments["7"]
    assert "### fedbench: main → 0a1b2c3: UNCHANGED" in comment["body"]
    assert TOKEN not in first.printed + second.printed
    page = (clone.path / "fedbench-report" / "comparison.html").read_text()
    assert page.startswith("<!DOCTYPE html>")
    ElementTree.parse(clone.path / "fedbench-report" / "junit.xml")


@pytest.mark.parametrize(("strict", "code"), [("", 0), ("1", 4)])
def test_what_could_not_be_told_is_a_warning_unless_it_is_to_fail(
    workflow: Callable[..., Runner], strict: str, code: int
) -> None:
    ended = workflow(4, strict=strict)
    assert ended.code == code
    assert ("::warning title=fedbench::inconclusive: this is neither" in ended.printed) == (code == 0)


@pytest.mark.parametrize("code", [2, 3, 5, 6])
def test_what_measured_nothing_fails_and_comments_on_nothing(
    workflow: Callable[..., Runner], github: FakeGitHub, code: int
) -> None:
    ended = workflow(code, record=False)
    assert ended.code == code
    assert list(ended.ended)[-1] == "Verdict"
    assert "::error title=fedbench::nothing was compared" in ended.printed
    assert github.comments == {}


def test_a_pull_request_of_a_fork_has_its_report_without_a_comment(
    workflow: Callable[..., Runner], github: FakeGitHub
) -> None:
    ended = workflow(0, fork=True)
    assert ended.code == 0
    assert "UNCHANGED" in ended.summary
    assert github.requests == []


def test_a_comment_that_is_refused_does_not_decide(
    workflow: Callable[..., Runner], github: FakeGitHub
) -> None:
    github.status = 403
    ended = workflow(0)
    assert (ended.ended["Comment"], ended.code) == (1, 0)


def test_the_workflow_trusts_no_text_and_may_do_no_more_than_comment() -> None:
    assert not any("${{" in script for script in SCRIPTS.values())  # titles and branches are others' text
    assert WORKFLOW["permissions"] == {"contents": "read", "pull-requests": "write"}
    with_token = [step["name"] for step in STEPS if "GITHUB_TOKEN" in step.get("env", {})]
    assert with_token == ["Comment"]
    assert "pull_request" in WORKFLOW[True]  # YAML 1.1 reads `on` as a truth value
    assert all(re.fullmatch(r"actions/[a-z-]+@v\d+", step["uses"]) for step in STEPS if "uses" in step)
    upload = next(step for step in STEPS if "upload-artifact" in step.get("uses", ""))
    assert upload["with"]["path"] == "fedbench-report"


# The script ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "options", "ends"),
    [(0, {}, 0), (1, {}, 1), (4, {}, 0), (4, {"FEDBENCH_NEUTRAL_EXIT": "4"}, 4)],
)
def test_any_ci_gets_the_reports_and_a_code(
    clone: Clone, code: int, options: dict[str, str], ends: int
) -> None:
    done = generic(clone, "main", code=code, **options)
    assert done.returncode == ends, done.stderr
    assert clone.commands[0].startswith(f"ab {clone.fork} {clone.head} --suite check --format json ")
    assert clone.reports == REPORTS
    assert done.stdout.splitlines()[-1].startswith(f"{VERDICTS[code].upper()}: ")
    assert ("neither a pass nor a failure" in done.stderr) == (code == 4)


def test_options_and_the_folder_are_those_of_the_environment(clone: Clone) -> None:
    options = {"FEDBENCH_OPTIONS": "--blocks 20 --threshold round_s=0.2", "FEDBENCH_REPORT": "some where"}
    done = generic(clone, "main", clone.fork, code=5, record=False, **options)
    assert done.returncode == 5
    assert clone.commands == [
        f"ab {clone.fork} {clone.fork} --suite check --blocks 20 --threshold round_s=0.2 --format json "
        "-o some where/comparison.json"
    ]


def test_an_earlier_report_is_no_result(clone: Clone) -> None:
    folder = clone.path / "fedbench-report"
    folder.mkdir()
    for name in REPORTS:
        (folder / name).write_text("old")
    assert generic(clone, "main", code=3, record=False).returncode == 3
    assert clone.reports == set()


@pytest.mark.parametrize("arguments", [(), ("no-such-branch",), ("main", "no-such-branch")])
def test_without_two_revisions_nothing_is_measured(clone: Clone, arguments: tuple[str, ...]) -> None:
    done = generic(clone, *arguments)
    assert done.returncode == 2
    assert "usage" in done.stderr or "no-such-branch" in done.stderr
    assert clone.commands == []


# Both ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "script", [*SCRIPTS.values(), (KIT / "generic.sh").read_text()], ids=[*SCRIPTS, "generic"]
)
def test_the_shell_is_sound(script: str, tmp_path: Path) -> None:
    path = tmp_path / "script.sh"
    path.write_text(script if script.startswith("#!") else f"#!/usr/bin/env bash\n{script}")
    subprocess.run(["bash", "-n", path], check=True, timeout=limit_s(10))
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", "--severity=warning", path], check=True, timeout=limit_s(15))


def _calls() -> list[list[str]]:
    """Every call of ``fedbench`` in the kit and its page, by words."""
    texts = [*SCRIPTS.values(), (KIT / "generic.sh").read_text(), (ROOT / "docs" / "ci.md").read_text()]
    joined = "\n".join(texts).replace("\\\n", " ")
    lines = re.findall(r"(?:^|[`] ?|&& )\s*fedbench ([a-z]+ [^`\n]*)", joined, re.MULTILINE)
    return [shlex.split(line.partition("||")[0]) for line in lines]


@pytest.mark.parametrize("call", _calls(), ids=" ".join)
def test_the_kit_uses_commands_and_options_that_there_are(call: list[str]) -> None:
    commands = typer.main.get_command(app).commands
    options = {name for parameter in commands[call[0]].params for name in parameter.opts}
    assert {word for word in call if re.match(r"--?[a-z]", word)} <= options


def test_every_format_that_the_kit_renders_is_one() -> None:
    pairs = re.findall(r"\b([a-z]+):[a-z]+\.(?:html|md|xml)", "\n".join(SCRIPTS.values()))
    assert len(pairs) == 4
    assert set(pairs) <= set(FORMATS)
