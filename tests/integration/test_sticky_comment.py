"""The comment on a pull request: made once, changed from then on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.report.comment import MOST_CHARACTERS, comment
from tests.fakes.comparisons import fake_change, fake_comparison
from tests.fakes.github import FakeGitHub, fake_github
from tests.pace import limit_s

SCRIPT = Path(__file__).parents[2] / "scripts" / "sticky_comment.py"
BODY = comment(fake_comparison())


@pytest.fixture
def github() -> Iterator[FakeGitHub]:
    with fake_github() as github:
        yield github


def post(
    github: FakeGitHub, body: Path, number: object = 7, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SCRIPT, str(number), str(body)],
        env={"PATH": os.environ["PATH"], **github.environment(), **environment},
        capture_output=True,
        text=True,
        timeout=limit_s(15),
        check=False,
    )


@pytest.fixture
def body(tmp_path: Path) -> Path:
    path = tmp_path / "comment.md"
    path.write_text(BODY, encoding="utf-8")
    return path


def test_the_first_run_makes_it_and_the_next_changes_it(github: FakeGitHub, body: Path) -> None:
    somebody = github.add(7, "Nice work")
    first = post(github, body)
    assert (first.returncode, first.stdout) == (0, f"made {github.url}/c/1001\n")
    again = comment(fake_comparison(verdict="unchanged", changes=[], exit_code=0))
    body.write_text(again, encoding="utf-8")
    second = post(github, body)
    assert (second.returncode, second.stdout) == (0, f"changed {github.url}/c/1001\n")
    assert [one["body"] for one in github.comments["7"]] == [somebody["body"], again]


def test_it_is_found_among_hundreds_and_on_no_other_pull_request(github: FakeGitHub, body: Path) -> None:
    github.add(8, BODY)
    for number in range(230):
        github.add(7, f"comment {number}" if number != 225 else BODY.replace("regressed", "before"))
    github.add(7, None)
    assert post(github, body).stdout.startswith("changed")
    assert github.comments["7"][225]["body"] == BODY
    assert [request.split("page=")[-1] for request in github.requests[:-1]] == ["1", "2", "3"]
    assert len(github.comments["8"]) == 1


def test_comments_of_other_names_and_quotes_are_left_alone(github: FakeGitHub, body: Path) -> None:
    others = [github.add(7, comment(fake_comparison(), "nightly")), github.add(7, f"> quoted\n{BODY}")]
    before = [dict(other) for other in others]
    assert post(github, body).stdout.startswith("made")
    assert github.comments["7"][:2] == before


def test_the_longest_comment_is_taken(github: FakeGitHub, body: Path) -> None:
    changes = [fake_change(workload=f"w{i}", reason="é" * 400) for i in range(500)]
    text = comment(fake_comparison(changes=changes))
    assert len(text) > MOST_CHARACTERS - 1000
    body.write_text(text, encoding="utf-8")
    assert post(github, body).returncode == 0
    assert github.comments["7"][0]["body"] == text


@pytest.mark.parametrize("status", [401, 403, 404, 500])
def test_what_github_refuses_is_told_without_the_token(github: FakeGitHub, body: Path, status: int) -> None:
    github.status = status
    done = post(github, body)
    assert done.returncode == 1
    assert f"GitHub: {status} " in done.stderr
    assert "may this token comment on octo/fed#7?" in done.stderr
    assert "t0ken" not in done.stdout + done.stderr


def test_nobody_there_is_told(github: FakeGitHub, body: Path) -> None:
    done = post(github, body, GITHUB_API_URL="http://127.0.0.1:9")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "Connection refused" in done.stderr


@pytest.mark.parametrize(
    ("number", "text", "environment", "message"),
    [
        ("x", BODY, {}, "usage"),
        ("7/../8", BODY, {}, "usage"),
        (7, "no marker\n", {}, "begins with no marker"),
        (7, "", {}, "begins with no marker"),
        (7, BODY, {"GITHUB_TOKEN": ""}, "GITHUB_TOKEN and GITHUB_REPOSITORY"),
        (7, BODY, {"GITHUB_REPOSITORY": "a/../b"}, "GITHUB_TOKEN and GITHUB_REPOSITORY"),
    ],
)
def test_what_is_wrong_with_the_input_is_told_and_nothing_sent(
    github: FakeGitHub, body: Path, number: object, text: str, environment: dict[str, str], message: str
) -> None:
    body.write_text(text, encoding="utf-8")
    done = post(github, body, number, **environment)
    assert done.returncode == 2
    assert message in done.stderr
    assert github.requests == []


def test_a_body_that_cannot_be_read_is_named(github: FakeGitHub, tmp_path: Path) -> None:
    done = post(github, tmp_path / "missing.md")
    assert (done.returncode, "missing.md: cannot be read" in done.stderr) == (2, True)
