"""Is this installation sound?  What ``kinetics doctor`` looks at, and what to do about what it finds.

Two distributions on PyPI are called ``kinetics`` and ``fits``; installing one of them over this project overwrites
its files without a word.  So this module needs nothing but the standard library, and whatever could be broken
(or crash) is tried by `fits.doctor_trials` in a process of its own.
"""

from __future__ import annotations

import base64
import csv
import enum
import hashlib
import importlib.util
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from fits.doctor_trials import WORK, run_trials

DISTRIBUTION = "cytokine-kinetics"
PACKAGES = ("kinetics", "fits", "sbml")  # the top-level packages of this project
PYTHON = ((3, 11), (3, 14))  # from, up to but not
# distribution, module, lowest version, version that is too new
NEEDED = (
    ("libroadrunner", "roadrunner", (2, 10), (2, 12)),
    ("tellurium", "tellurium", (2, 2, 11), None),
    ("antimony", "antimony", (2, 15), None),
    ("python-libsbml", "libsbml", (5, 20), None),
    ("numpy", "numpy", (1, 26), None),
    ("scipy", "scipy", (1, 11), None),
    ("pandas", "pandas", (2, 1), None),
    ("pint", "pint", (0, 24), None),
    ("pyyaml", "yaml", (6,), None),
    ("matplotlib", "matplotlib", (3, 8), None),
    ("tqdm", "tqdm", (4, 65), None),
    ("six", "six", (1,), None),
)
TRIALS = len(NEEDED) + len(WORK)  # how often `examine` calls back
LEAST_SPACE = 50_000_000  # bytes in the folder for temporary files
REINSTALL = f"python -m pip install --force-reinstall --no-deps {DISTRIBUTION}"


class Health(enum.Enum):
    """How grave a finding is."""

    SOUND = "ok"
    NOTE = "note"  # worth knowing; everything works
    PROBLEM = "PROBLEM"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    name: str
    health: Health
    text: str  # what was found
    remedy: str = ""  # what to do, with commands

    def to_dict(self) -> dict[str, str | None]:
        return {"name": self.name, "health": self.health.value, "found": self.text, "remedy": self.remedy or None}


@dataclass(frozen=True)
class Diagnosis:
    """All findings."""

    findings: tuple[Finding, ...]

    @property
    def sound(self) -> bool:
        return all(finding.health is not Health.PROBLEM for finding in self.findings)

    def to_dict(self) -> dict[str, object]:
        return {"sound": self.sound, "findings": [finding.to_dict() for finding in self.findings]}


def examine(tried: Callable[[], None] | None = None) -> Diagnosis:
    """Look at everything; takes some seconds, because all packages are imported.

    ``tried`` is called after each of `TRIALS` trials.
    """
    distributions = list(metadata.distributions())
    findings = [
        *python_version(sys.version_info[:2], sys.maxsize > 2**32),
        *this_platform(platform.system(), platform.machine(), platform.libc_ver()[0]),
        *installed(distributions),
        *ownership(distributions),
        *origins({name: _location(name) for name in PACKAGES}),
    ]
    results, ending = run_trials([module for _, module, _, _ in NEEDED], tried)
    findings += dependencies({_canonical(d.name): d.version for d in distributions if d.name}, results, ending)
    findings += works(results, ending)
    findings += temporary_files(tempfile.gettempdir)
    return Diagnosis(tuple(findings))


# --- the ground ---------------------------------------------------------------------------------------------


def python_version(version: tuple[int, ...], wide: bool) -> Iterator[Finding]:
    """Whether the engine has builds for this Python."""
    lowest, above = PYTHON
    said = ".".join(map(str, version))
    wanted = f"{_dotted(lowest)} to {above[0]}.{above[1] - 1}, 64 bit"
    if lowest <= tuple(version[:2]) < above and wide:
        yield Finding("Python", Health.SOUND, said)
    else:
        bits = "" if wide else ", 32 bit"
        yield Finding(
            "Python", Health.PROBLEM, f"{said}{bits}; expected {wanted}",
            "make an environment with another Python, for example: python3.12 -m venv .venv",
        )  # fmt: skip


def this_platform(system: str, machine: str, libc: str) -> Iterator[Finding]:
    """Whether libroadrunner is published for this system."""
    said = f"{system} {machine}"
    lacking = ""
    if system == "Linux" and machine.lower() in ("aarch64", "arm64"):
        lacking = "libroadrunner has no wheels for Linux on aarch64"
    elif system == "Linux" and libc and libc != "glibc":
        lacking = f"libroadrunner has no wheels for {libc}"
    elif system == "Linux" and not libc:
        lacking = "this Linux seems not to use glibc (Alpine?), and libroadrunner has wheels for glibc only"
    elif system == "Windows" and machine.lower() in ("arm64", "aarch64"):
        lacking = "libroadrunner has no wheels for Windows on ARM"
    if lacking:
        yield Finding(
            "platform", Health.NOTE, f"{said}: {lacking}",
            "use an x86-64 Python, for example a container: docker run --platform linux/amd64 -it python:3.12",
        )  # fmt: skip
    else:
        yield Finding("platform", Health.SOUND, said)


def temporary_files(folder: Callable[[], str]) -> Iterator[Finding]:
    """Whether files can be written where programs write them in passing."""
    try:
        where = folder()
        with tempfile.TemporaryFile(dir=where) as trial:
            trial.write(b"x" * 4096)
            trial.flush()
        free = shutil.disk_usage(where).free
    except OSError as error:  # FileNotFoundError: no usable folder at all
        yield Finding(
            "temporary files", Health.PROBLEM, f"cannot be written: {error.strerror or error}",
            "set the environment variable TMPDIR to a folder that can be written",
        )  # fmt: skip
        return
    if free < LEAST_SPACE:
        yield Finding(
            "temporary files", Health.PROBLEM, f"only {free / 1e6:.0f} MB free",
            "make space, or set TMPDIR to a folder on another disk",
        )  # fmt: skip
    else:
        yield Finding("temporary files", Health.SOUND, "can be written")


# --- whose files these are ----------------------------------------------------------------------------------


def installed(distributions: Iterable[metadata.Distribution]) -> Iterator[Finding]:
    """Whether this project is installed or run from a checkout, and whether its files are still its own."""
    own = [item for item in distributions if _canonical(item.name or "") == DISTRIBUTION]
    if not own:
        yield Finding("installation", Health.NOTE, f"{DISTRIBUTION} is not installed; this runs from a checkout")
        return
    versions = sorted({item.version for item in own})
    changed, missing = [], []
    for item in own:
        for file, kind, expected in _recorded(item):
            try:
                content = Path(str(item.locate_file(file))).read_bytes()
            except OSError:
                missing.append(file)
                continue
            if base64.urlsafe_b64encode(hashlib.new(kind, content).digest()).decode().rstrip("=") != expected:
                changed.append(file)
    said = f"{DISTRIBUTION} {', '.join(versions)}"
    if changed or missing:
        parts = [
            f"{len(files)} of its files {what}, such as {files[0]}"
            for files, what in ((changed, "are not what was installed"), (missing, "are gone"))
            if files
        ]
        yield Finding(
            "installation", Health.PROBLEM,
            f"{said}: {' and '.join(parts)}; another distribution may have written over them", REINSTALL,
        )  # fmt: skip
    elif len(versions) > 1:
        yield Finding(
            "installation", Health.PROBLEM, f"{said}: more than one version is installed",
            f"python -m pip uninstall {DISTRIBUTION} (twice), then python -m pip install {DISTRIBUTION}",
        )  # fmt: skip
    else:
        yield Finding("installation", Health.SOUND, said)


def _recorded(item: metadata.Distribution) -> Iterator[tuple[str, str, str]]:
    """Our files, with the kind and value of their checksums, as pip wrote them down.

    Not ``item.files``: newer Pythons leave out the files that are gone.
    """
    for row in csv.reader((item.read_text("RECORD") or "").splitlines()):
        parts = row[0].split("/") if len(row) > 1 else []
        kind, _, value = row[1].partition("=") if parts else ("", "", "")
        if value and parts[0] in PACKAGES and "__pycache__" not in parts and kind in hashlib.algorithms_available:
            yield row[0], kind, value


def ownership(distributions: Iterable[metadata.Distribution]) -> Iterator[Finding]:
    """Whether another distribution brings a package of the same name."""
    owners: dict[str, dict[str, None]] = {}
    for item in distributions:
        if item.name and _canonical(item.name) != DISTRIBUTION:
            for package in _top_levels(item) & set(PACKAGES):
                owners.setdefault(package, {})[item.name] = None
    others = list(dict.fromkeys(name for package in PACKAGES for name in owners.get(package, ())))
    if not others:
        yield Finding("package names", Health.SOUND, f"no other distribution owns {', '.join(PACKAGES)}")
        return
    for package in PACKAGES:
        for name in owners.get(package, ()):
            yield Finding(
                "package names", Health.PROBLEM,
                f"the distribution {name!r} also owns the package {package!r}: whichever was installed last has "
                "overwritten files of the other",
                f"python -m pip uninstall {' '.join(others)}, then {REINSTALL}; to use both, give each its own "
                "environment",
            )  # fmt: skip


def origins(locations: Mapping[str, Path | None]) -> Iterator[Finding]:
    """Whether the packages are found side by side, as they were installed, and not somewhere else."""
    home = Path(__file__).resolve().parents[1]
    wrong = {name: path for name, path in locations.items() if path is None or path.resolve().parent != home}
    if not wrong:
        yield Finding("origin", Health.SOUND, f"{', '.join(locations)} are found side by side")
    for name, path in wrong.items():
        if path is None:
            yield Finding("origin", Health.PROBLEM, f"the package {name!r} is not found", REINSTALL)
        else:
            yield Finding(
                "origin", Health.PROBLEM, f"{name!r} is imported from {path}, not from {home / name}",
                f"rename or leave the folder that holds another {name!r}, look at PYTHONPATH, or: {REINSTALL}",
            )  # fmt: skip


def _location(package: str) -> Path | None:
    """The folder (or file) a package is imported from."""
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError, AttributeError):
        return None
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))
    return Path(spec.origin) if spec.origin else None


def _top_levels(item: metadata.Distribution) -> set[str]:
    """The packages and modules a distribution brings, from its own list or from its files."""
    listed = set((item.read_text("top_level.txt") or "").split())
    for file in item.files or ():
        if len(file.parts) > 1 or file.suffix == ".py":
            listed.add(file.parts[0].removesuffix(".py"))
    return listed


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


# --- what works ---------------------------------------------------------------------------------------------


def dependencies(versions: Mapping[str, str], results: Mapping[str, str], ending: str) -> Iterator[Finding]:
    """Whether each needed package is there, new enough, and can be imported.

    Args:
        versions: by canonical distribution name.
        results: ``""`` or an error, by ``"import MODULE"``.
        ending: how the process of the trials ended, ``""`` where it was well.
    """
    bad = False
    for name, module, lowest, above in NEEDED:
        version = versions.get(name, "")
        wanted = f">={_dotted(lowest)}" + (f",<{_dotted(above)}" if above else "")
        install = f"python -m pip install '{name}{wanted}'"
        problem = results.get(f"import {module}", f"the process that tried it {ending or 'never came to it'}")
        if not version:
            problem = f"not installed (needed: {wanted})" if problem else ""
        elif not _fits(version, lowest, above):
            problem = f"version {version}, needed: {wanted}"
        elif problem:
            problem = f"version {version} cannot be imported: {problem}"
            install = f"python -m pip install --force-reinstall '{name}{wanted}'"
        if module == "matplotlib" and "backend" in problem:
            install = "unset the environment variable MPLBACKEND, or set it to Agg"
        if problem:
            bad = True
            yield Finding(name, Health.PROBLEM, problem, install)
    if not bad:
        said = ", ".join(f"{name} {versions.get(name, '(version unknown)')}" for name, *_ in NEEDED)
        yield Finding("packages", Health.SOUND, said)


def works(results: Mapping[str, str], ending: str) -> Iterator[Finding]:
    """Whether the engine computes what it should, models can be translated and found, figures drawn."""
    for key, name, good, remedy in _WORK:
        said = results.get(key, f"not tried, because the process {ending or 'ended early'}")
        if said.startswith("= "):
            yield Finding(name, Health.SOUND, f"{good}{said[2:]}")
        elif said:
            yield Finding(name, Health.PROBLEM, said, remedy)
        else:
            yield Finding(name, Health.SOUND, good)


_WORK = (
    (
        "engine", "engine", "a decay agrees with its closed form",
        "python -m pip install --force-reinstall libroadrunner, and if it stays please report it",
    ),
    ("antimony", "Antimony", "is translated", "python -m pip install --force-reinstall antimony"),
    ("models", "bundled models", "found, loadable and in step with their sources: ", REINSTALL),
    (
        "figures", "figures", "can be drawn; backend ",
        "unset the environment variable MPLBACKEND, or: python -m pip install --force-reinstall matplotlib",
    ),
)  # fmt: skip


def _fits(version: str, lowest: tuple[int, ...], above: tuple[int, ...] | None) -> bool:
    match = re.match(r"\d+(?:\.\d+)*", version)
    if not match:
        return True  # unreadable is no proof of anything
    numbers = tuple(int(part) for part in match.group().split("."))
    return numbers >= lowest and (above is None or numbers < above)


def _dotted(version: Iterable[int]) -> str:
    return ".".join(map(str, version))
