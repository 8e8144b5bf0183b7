"""The wheel holds everything and works away from the checkout, in an environment that has nothing else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # installing downloads some hundred megabytes

ROOT = Path(__file__).parents[1]
PACKAGES = ("kinetics", "fits", "sbml")
BIN = "Scripts" if os.name == "nt" else "bin"


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return subprocess.run(
        [str(part) for part in command], cwd=cwd, env=clean, capture_output=True, text=True, timeout=800
    )


def must(*command: str | Path, cwd: Path) -> str:
    done = run(*command, cwd=cwd)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def index(tmp_path_factory) -> None:
    """A package index, without which nothing can be built or installed."""
    folder = tmp_path_factory.mktemp("index")
    done = run(sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir", "-d", folder, "six", cwd=folder)
    if done.returncode != 0:
        pytest.skip(f"no package index can be reached: {done.stderr.strip().splitlines()[-1]}")


@pytest.fixture(scope="module")
def wheel(index, tmp_path_factory) -> Path:
    """Built from a copy: a build folder left in the checkout would go into the wheel."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    must(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", out, source, cwd=source)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The folder of scripts of an environment in which the wheel was installed."""
    folder = tmp_path_factory.mktemp("environment") / "with space"
    venv.create(folder, with_pip=True)
    must(folder / BIN / "python", "-m", "pip", "install", "--quiet", wheel, cwd=folder)
    return folder / BIN


def test_wheel_holds_every_file_of_the_packages_and_no_other(wheel):
    expected = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert "sbml/catalogue.toml" in held
    assert held == expected


def test_wheel_carries_licence_and_command(wheel):
    archive = zipfile.ZipFile(wheel)
    names = {name.partition(".dist-info/")[2] for name in archive.namelist()}
    assert "licenses/LICENSE" in names
    (entry,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
    assert "kinetics = fits.cli:main" in archive.read(entry).decode()


def test_packages_are_imported_from_the_environment(installed, tmp_path):
    code = "import kinetics, fits, sbml; print(kinetics.__file__, fits.__file__, sbml.__file__, sep='\\n')"
    for line in must(installed / "python", "-c", code, cwd=tmp_path).splitlines():
        assert Path(line).is_relative_to(installed.parent.resolve()), line


def test_models_are_listed(installed, tmp_path):
    assert "il7_stat5_imatinib" in must(installed / "kinetics", "models", cwd=tmp_path)


def test_doctor_finds_nothing_wrong(installed, tmp_path):
    must(installed / "kinetics", "doctor", cwd=tmp_path)


def test_dose_response_is_that_of_the_checkout(installed, tmp_path):
    command = ("dose-response", "il7_stat5_imatinib", "--json")
    there = json.loads(must(installed / "kinetics", *command, cwd=tmp_path))
    code = "import sys; from fits.cli import main; sys.exit(main())"
    here = json.loads(must(sys.executable, "-c", code, *command, cwd=ROOT))
    assert there["doses"] == here["doses"]
    assert there["response_unit"] == here["response_unit"] == "nM"
    # The two environments may hold different versions of the engine, which promises a relative 1e-8 per step.
    assert there["responses"] == pytest.approx(here["responses"], rel=1e-6)
