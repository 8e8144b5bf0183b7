"""The doctor finds what is wrong with an installation; each fault is made on purpose."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from fits import doctor
from fits.doctor import Finding, Health

ROOT = Path(__file__).parents[1]
GOOD = {f"import {module}": "" for _, module, _, _ in doctor.NEEDED}
VERSIONS = {name: ".".join(map(str, lowest)) for name, _, lowest, _ in doctor.NEEDED}


def problems(findings: object) -> list[Finding]:
    return [finding for finding in findings if finding.health is Health.PROBLEM]  # type: ignore[attr-defined]


def distribution(folder: Path, name: str, files: dict[str, bytes], *, top_level: str = "") -> Path:
    """An installed distribution as pip leaves it: its files, METADATA and RECORD."""
    info = folder / f"{name.replace('-', '_')}-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    lines = []
    for file, content in files.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(content)
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
        lines.append(f"{file},sha256={digest},{len(content)}")
    (info / "RECORD").write_text("\n".join([*lines, f"{info.name}/METADATA,,", f"{info.name}/RECORD,,"]) + "\n")
    if top_level:
        (info / "top_level.txt").write_text(top_level)
    return folder


def found_in(*folders: Path) -> list[metadata.Distribution]:
    return list(metadata.distributions(path=[str(folder) for folder in folders]))


# --- whose files --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("package", doctor.PACKAGES)
def test_another_distribution_of_our_package_names_is_a_problem(tmp_path, package):
    distribution(tmp_path, package, {f"{package}/__init__.py": b"theirs"})
    (finding,) = problems(doctor.ownership(found_in(tmp_path)))
    assert repr(package) in finding.text
    assert f"pip uninstall {package}" in finding.remedy
    assert "--force-reinstall" in finding.remedy and doctor.DISTRIBUTION in finding.remedy


def test_a_module_or_a_declared_top_level_counts_as_well(tmp_path):
    distribution(tmp_path / "one", "something-else", {"fits.py": b"theirs"})
    distribution(tmp_path / "two", "libsbml-tools", {}, top_level="sbml\nother\n")
    said = " ".join(
        finding.text for finding in problems(doctor.ownership(found_in(tmp_path / "one", tmp_path / "two")))
    )
    assert "'something-else'" in said and "'libsbml-tools'" in said


def test_our_own_distribution_and_strangers_are_no_problem(tmp_path):
    distribution(tmp_path, "cytokine_kinetics", {"kinetics/__init__.py": b"ours", "sbml/__init__.py": b""})
    distribution(tmp_path, "fitsio", {"fitsio/__init__.py": b"", "tests/fits.py": b""})
    assert [finding.health for finding in doctor.ownership(found_in(tmp_path))] == [Health.SOUND]


def test_overwritten_and_lost_files_are_found(tmp_path):
    files = {"kinetics/__init__.py": b"ours", "fits/cli.py": b"ours", "sbml/m.xml": b"<sbml/>"}
    distribution(tmp_path, doctor.DISTRIBUTION, files)
    assert not problems(doctor.installed(found_in(tmp_path)))
    (tmp_path / "kinetics/__init__.py").write_bytes(b"theirs")
    (finding,) = problems(doctor.installed(found_in(tmp_path)))
    assert "1 of its files are not what was installed, such as kinetics/__init__.py" in finding.text
    (tmp_path / "sbml/m.xml").unlink()
    (finding,) = problems(doctor.installed(found_in(tmp_path)))
    assert "gone, such as sbml/m.xml" in finding.text
    assert finding.remedy == doctor.REINSTALL


def test_a_checkout_is_only_noted():
    (finding,) = doctor.installed([])
    assert finding.health is Health.NOTE


def test_a_package_from_elsewhere_or_nowhere_is_a_problem(tmp_path):
    good = {name: ROOT / name for name in doctor.PACKAGES}
    assert not problems(doctor.origins(good))
    (elsewhere,) = problems(doctor.origins({**good, "sbml": tmp_path / "sbml"}))
    assert str(tmp_path) in elsewhere.text
    (nowhere,) = problems(doctor.origins({**good, "kinetics": None}))
    assert "not found" in nowhere.text


# --- the ground ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "wide", "sound"),
    [
        ((3, 10), True, False),
        ((3, 11), True, True),
        ((3, 13), True, True),
        ((3, 14), True, False),
        ((3, 12), False, False),
    ],
)
def test_python_versions(version, wide, sound):
    assert bool(problems(doctor.python_version(version, wide))) is not sound


def test_python_range_is_that_of_the_project():
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (low, high) = doctor.PYTHON
    assert project["requires-python"] == f">={low[0]}.{low[1]},<{high[0]}.{high[1]}"
    needed = {item.split(">")[0].split("<")[0].strip().lower() for item in project["dependencies"]}
    assert needed == {name for name, *_ in doctor.NEEDED}
    assert project["name"] == doctor.DISTRIBUTION


@pytest.mark.parametrize(
    ("system", "machine", "libc", "word"),
    [
        ("Linux", "aarch64", "glibc", "aarch64"),
        ("Linux", "x86_64", "", "Alpine"),
        ("Linux", "x86_64", "musl", "musl"),
        ("Windows", "ARM64", "", "ARM"),
    ],
)
def test_platforms_without_wheels_are_named_with_a_way_out(system, machine, libc, word):
    (finding,) = doctor.this_platform(system, machine, libc)
    assert finding.health is Health.NOTE
    assert word in finding.text and "linux/amd64" in finding.remedy


@pytest.mark.parametrize(
    "place", [("Linux", "x86_64", "glibc"), ("Darwin", "arm64", ""), ("Darwin", "x86_64", ""), ("Windows", "AMD64", "")]
)
def test_platforms_with_wheels(place):
    assert [finding.health for finding in doctor.this_platform(*place)] == [Health.SOUND]


def test_temporary_files(tmp_path):
    assert not problems(doctor.temporary_files(lambda: str(tmp_path)))
    (finding,) = problems(doctor.temporary_files(lambda: str(tmp_path / "missing")))
    assert "TMPDIR" in finding.remedy

    def nowhere() -> str:
        raise FileNotFoundError("no usable temporary directory")

    assert problems(doctor.temporary_files(nowhere))


# --- packages and what works --------------------------------------------------------------------------------


def test_all_needed_packages_there():
    (finding,) = doctor.dependencies(VERSIONS, GOOD, "")
    assert finding.health is Health.SOUND


@pytest.mark.parametrize(
    ("versions", "results", "ending", "words"),
    [
        ({"six": ""}, {"import six": "ModuleNotFoundError: No module named 'six'"}, "", ("six", "not installed")),
        ({"libroadrunner": "2.9.1"}, {}, "", ("libroadrunner", "2.9.1")),
        ({"libroadrunner": "2.12.0"}, {}, "", ("libroadrunner", "<2.12")),
        ({}, {"import numpy": "ImportError: libopenblas"}, "", ("numpy", "libopenblas")),
        ({}, {"import six": None}, "crashed (signal 11)", ("six", "crashed (signal 11)")),
    ],
    ids=["missing", "old", "new", "broken", "crash"],
)
def test_faulty_packages_are_named_with_a_command(versions, results, ending, words):
    changed = {key: value for key, value in {**GOOD, **results}.items() if value is not None}
    (finding,) = problems(doctor.dependencies({**VERSIONS, **versions}, changed, ending))
    assert all(word in f"{finding.name} {finding.text}" for word in words)
    assert "python -m pip install" in finding.remedy


def test_an_engine_that_computes_wrongly_is_a_problem():
    results = {"engine": "a decay differs", "antimony": "", "models": "= one", "figures": "= agg"}
    (finding,) = problems(doctor.works(results, ""))
    assert finding.name == "engine"
    assert len(problems(doctor.works({}, "crashed (signal 6)"))) == 4


# --- all of it ----------------------------------------------------------------------------------------------


def examined(*path: Path, **variables: str) -> tuple[int, dict[str, object], str]:
    """``kinetics doctor --json`` in a process of its own, with ``path`` first."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (*path, ROOT))), **variables}
    code = "import sys; from fits.cli import main; sys.exit(main(['doctor', '--json']))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        cwd=ROOT,
        check=False,
    )
    return done.returncode, json.loads(done.stdout), done.stderr


def test_this_installation_is_sound():
    status, found, err = examined()
    assert found["sound"], [item for item in found["findings"] if item["health"] == "PROBLEM"]  # type: ignore[attr-defined]
    assert (status, err) == (0, "")


def test_a_stranger_called_kinetics_is_found(tmp_path):
    distribution(tmp_path, "kinetics", {"kinetics/__init__.py": b"'''somebody else's'''\n"})
    # the current folder comes before PYTHONPATH for -c, so the stranger is put in front by a folder of its own
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from fits.cli import main; sys.exit(main(['doctor']))"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "pip uninstall kinetics" in done.stdout
    assert "'kinetics' is imported from" in done.stdout
    assert "not sound" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "body", ["raise ImportError('no libncurses')", "import os; os.abort()"], ids=["error", "crash"]
)
def test_an_engine_that_cannot_be_imported_is_found(tmp_path, body):
    (tmp_path / "roadrunner.py").write_text(body)
    status, found, _ = examined(tmp_path)
    wrong = {item["name"]: item for item in found["findings"] if item["health"] == "PROBLEM"}  # type: ignore[attr-defined]
    assert status == 1
    assert "libroadrunner" in wrong and "engine" in wrong
    assert "libroadrunner" in wrong["libroadrunner"]["remedy"]


def test_a_backend_that_does_not_exist_is_found():
    status, found, _ = examined(MPLBACKEND="nonsense")
    assert status == 1
    assert any("MPLBACKEND" in (item["remedy"] or "") for item in found["findings"])  # type: ignore[attr-defined]
