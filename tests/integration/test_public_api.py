"""What users import, and what the documents show them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import fedbench

ROOT = Path(__file__).parents[2]


def test_all_names_exist_once_and_are_documented() -> None:
    assert len(set(fedbench.__all__)) == len(fedbench.__all__)
    for name in fedbench.__all__:
        assert getattr(fedbench, name).__doc__, name


def test_importing_does_not_load_the_harness_or_heavy_packages() -> None:
    heavy = ("harness", "pandas", "matplotlib", "psutil")
    code = f"import sys, fedbench; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_pins_blas_to_one_thread_before_numpy_loads() -> None:
    code = "import os, fedbench; print(os.environ['OPENBLAS_NUM_THREADS'], os.environ['OMP_NUM_THREADS'])"
    env = {"PATH": "/usr/bin", "OMP_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.split() == ["1", "1"]


def _python_blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)


def test_the_readme_shows_code() -> None:
    assert len(_python_blocks()) == 2


@pytest.mark.slow
def test_the_first_example_of_the_readme_runs() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _python_blocks()[0]], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert "ModelState version=20" in done.stdout


def test_the_first_example_of_the_readme_may_be_imported_again() -> None:
    """The processes of clients do so in process mode."""
    code = _python_blocks()[0]
    exec(compile(code, "readme.py", "exec"), {"__name__": "__mp_main__"})  # runs nothing
    for name in ("README.md", "README.zh-CN.md"):
        assert 'if __name__ == "__main__":\n    fedbench.run(main())' in (ROOT / name).read_text()


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_the_readme_tells_what_process_mode_needs(name: str) -> None:
    text = (ROOT / name).read_text()
    for what in ("fedbench doctor --clean", "/dev/shm", "64 MB", "--shm-size", "fedbench-logs"):
        assert what in text


async def test_the_learner_of_the_readme_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "readme_learner.py").write_text(_python_blocks()[1])
    monkeypatch.syspath_prepend(tmp_path)
    federation = fedbench.Federation.from_mapping(
        {"clients": {"count": 3, "learner": {"type": "readme_learner:MeanLearner"}}}
    )
    history = await federation.run()
    assert history.metrics == {"value": pytest.approx(1.0, abs=1e-4)}


def test_the_chinese_readme_has_the_same_commands() -> None:
    commands = [
        re.findall(r"^(?:\./scripts|\.venv)\S+[^#\n]*", (ROOT / name).read_text(), flags=re.MULTILINE)
        for name in ("README.md", "README.zh-CN.md")
    ]
    english, chinese = ([" ".join(line.split()) for line in lines] for lines in commands)
    assert english == chinese


WRITTEN = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "adr").glob("*.md")]


@pytest.mark.parametrize("document", sorted(WRITTEN), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_local_link_of_a_document_leads_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", document.read_text(encoding="utf-8"))
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (document.parent / link).exists()] == []
