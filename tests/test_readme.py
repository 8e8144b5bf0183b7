"""The README is true: its Python runs, its commands exist, its links lead somewhere."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMAND = [sys.executable, "-c", "import sys; from fits.cli import main; sys.exit(main())"]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def shell_lines() -> list[list[str]]:
    """Every line of the shell blocks as words, without comments."""
    lines = (shlex.split(line, comments=True) for block in blocks("sh") for line in block.splitlines())
    return [words for words in lines if words]


def environment() -> dict[str, str]:
    """This checkout first, so that the README is tested against it and not against an installed copy."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore", "MPLBACKEND": "agg"}


def test_python_blocks_run_one_after_the_other(tmp_path):
    script = "\n".join(blocks("python"))
    assert script.count("import kinetics") == 1, "the blocks are one story; the first imports the package"

    run = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=120
    )

    assert run.returncode == 0, run.stderr
    said = " ".join(blocks("text")[0].split())
    assert said in " ".join(run.stdout.split()), "the answer printed in the README is not what its code prints"


@pytest.mark.parametrize("words", [w for w in shell_lines() if "kinetics" in Path(w[0]).name], ids=" ".join)
def test_kinetics_commands_exist_with_their_options(words):
    command = words[1]
    run = subprocess.run(
        [*COMMAND, command, "--help"], cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 0, run.stderr
    for word in words[2:]:
        if word.startswith("-"):
            assert word in run.stdout, f"kinetics {command} has no option {word}"


def test_make_targets_exist():
    rules = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {words[1] for words in shell_lines() if words[0] == "make"}
    named |= set(re.findall(r"`make ([a-z-]+)`", README))
    assert named, "the README names no make target"
    assert named <= rules, f"the Makefile has no {', '.join(sorted(named - rules))}"


def test_every_shell_line_is_of_a_kind_that_is_tested():
    known = {"make", "kinetics", ".venv/bin/kinetics", "python3", ".venv/bin/pip", ".venv/bin/python"}
    assert {words[0] for words in shell_lines()} <= known


def test_links_inside_the_project_exist():
    targets = re.findall(r"\]\(([^)#]+)", README)
    local = [target for target in targets if "://" not in target]
    assert local
    assert [target for target in local if not (ROOT / target).exists()] == []


def test_architecture_names_every_module_and_no_other():
    named = set(re.findall(r"`(?:kinetics/|fits/)?(\w+\.py|\w+/)`", (ROOT / "docs/architecture.md").read_text("utf-8")))
    present = {path.name for package in ("kinetics", "fits") for path in (ROOT / package).glob("*.py")}
    present |= {f"{path.parent.name}/" for path in (ROOT / "fits").glob("*/[!.]*")} | {"sbml/", "kinetics/", "fits/"}
    present -= {"__init__.py", "__pycache__/"}
    inner = {path.name for path in (ROOT / "fits").glob("*/*.py")}
    assert present <= named, "modules that the page does not name"
    assert named <= present | inner, "names of modules that are not there"
