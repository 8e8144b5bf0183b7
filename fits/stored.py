"""A fit that lies in a file, with the problem it belongs to: what ``profile``, ``sample``, ``report``, ``export`` need.

A store keeps names, bounds and starts, but not the problem itself: it says where the problem's file lies, relative to
the store, and how the problem was made a function (tolerances, gradients, what is solved for inside).
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

from fits.evaluation import FloatArray, Objective
from fits.gradient_check import inexact_of, inexact_sentences
from fits.hierarchical import HierarchicalObjective
from fits.objective import Gradients, ProblemObjective, compile_problem
from fits.parameters import Scale
from fits.problem import Problem
from fits.problem_file import bundled_problems, problem_path, read_problem
from fits.provenance import Provenance, collect, without_place
from fits.result import FitResult, StartRecord, assemble, read_fit
from fits.store import Store, StoreMismatch, read_store
from fits.tolerance_check import ToleranceCheck
from kinetics.engine import Solver
from kinetics.errors import InputError, ModelNotFound

LARGEST_RESULT = 200_000_000  # bytes


@dataclass(frozen=True)
class Making:
    """How a problem file becomes an objective; part of what a store remembers."""

    rtol: float = Solver.rtol
    atol: float = Solver.atol
    gradients: str = "auto"
    hierarchical: bool = False
    case: str = ""  # of a problem file

    def problem(self, path: str | Path) -> Problem:
        return read_problem(str(path) if str(path) in bundled_problems() else path, case=self.case)

    def objective(self, problem: Problem) -> Objective:
        solver = Solver(self.rtol, self.atol)
        if self.hierarchical:
            return HierarchicalObjective(problem, solver)
        return compile_problem(problem, solver, cast("Gradients", self.gradients))


def flat_of(objective: Objective) -> ProblemObjective:
    """The problem as a function of all of its parameters."""
    found = getattr(objective, "flat", objective)
    if not isinstance(found, ProblemObjective):
        raise InputError(f"expected the objective of a problem, got {type(objective).__name__}")
    return found


def flat_result(objective: Objective, result: FitResult) -> FitResult:
    """The same starts as points of the flat problem, which has a solver to make tighter."""
    complete = getattr(objective, "complete", None)
    flat = flat_of(objective)
    if flat is objective or complete is None:
        return result
    starts = tuple(start if start.reason.failed else replace(start, x=complete(start.x)) for start in result.starts)
    return replace(result, names=flat.names, lower=flat.lower, upper=flat.upper, starts=starts)


def fit_sentences(objective: Objective, result: FitResult, checked: ToleranceCheck | None) -> tuple[str, ...]:
    """The answer in words: the fit's own, tolerances, gradients."""
    # The reasons below say more than the result, which only knows that some derivatives were not exact.
    said = [text for text in result.sentences() if not text.startswith("Derivatives are finite differences")]
    if checked is not None:
        said.append(checked.sentence)
    if result.succeeded:  # after a failure nobody asks how exact the derivatives would have been
        said += inexact_sentences(inexact_of(objective), len(objective.names))
    return tuple(said)


@dataclass(frozen=True, eq=False)
class StoredFit:
    """A result, its problem, and where they lie."""

    path: Path
    problem_file: Path  # or the name of a bundled problem
    result: FitResult
    problem: Problem
    objective: Objective
    making: Making
    is_store: bool

    @property
    def x(self) -> FloatArray:
        """The best point of the flat problem, on the search scale, ``(n_free,)``.

        Raises:
            FitFailed: no start succeeded.
        """
        return self._complete(self.result.best.x)

    def _complete(self, x: FloatArray) -> FloatArray:
        return self.objective.complete(x) if isinstance(self.objective, HierarchicalObjective) else x

    @property
    def values(self) -> dict[str, float]:
        """Plain values of all parameters at the best point, fixed ones and those solved for included."""
        return self.problem.parameters.plain(self.x)

    def values_at(self, x: FloatArray) -> dict[str, float]:
        """The same at another point of the search, ``(n,)``."""
        return self.problem.parameters.plain(self._complete(x))

    @property
    def scales(self) -> dict[str, Scale]:
        """Of the parameters that are searched."""
        return {name: self.problem.parameters[name].scale for name in self.objective.names}

    def profiled(self) -> dict[str, list[dict[str, Any]]]:
        """Settings of the profiles of parameters that the store holds, by name."""
        found: dict[str, list[dict[str, Any]]] = {}
        for kind, settings in stored_kinds(self.path).items() if self.is_store else ():
            if kind.startswith("profile ") and not settings.get("quantity"):
                found.setdefault(str(settings["name"]), []).append(settings)
        return {name: found[name] for name in self.objective.names if name in found}


def prepare_store(store: str | Path, objective: Objective, problem: str | Path, making: Making) -> None:
    """Make the store of a fit if there is none, so that it says from the beginning which problem it is of.

    Raises:
        StoreInUse, StoreDamaged, StoreMismatch, InputError: it cannot be used.
    """
    path = Path(store)
    about = {
        "names": list(objective.names), "lower": objective.lower, "upper": objective.upper,
        "provenance": collect().to_dict(), "problem": _relative(problem, path.parent), "making": asdict(making),
    }  # fmt: skip
    Store(path, objective.fingerprint, about).close()


def _relative(problem: str | Path, folder: Path) -> str:
    """Where the problem lies as seen from a folder: a path that says nothing of the machine."""
    if str(problem) in bundled_problems():
        return str(problem)
    try:
        text = os.path.relpath(problem_path(problem).resolve(), folder.resolve())
    except ValueError:  # on another drive
        return Path(problem).name
    return Path(text).as_posix()


def open_fit(path: str | Path, problem: str | Path | None = None) -> StoredFit:
    """The fit in a store, or in the JSON that ``kinetics fit --json`` printed, with its problem.

    Args:
        problem: the problem's file, where it moved or the fit does not say.

    Raises:
        InputError, ModelNotFound: there is no such file, it holds no fit, or its problem is not found.
        StoreDamaged: it is not what was written.
        StoreMismatch: the problem is not the one that was fitted any more.
    """
    file = Path(path)
    if file.is_dir():
        raise InputError(f"expected the store or the JSON of a fit, but {file.name!r} is a folder")
    if not file.is_file():
        raise ModelNotFound(f"no store or result {str(path)!r}; 'kinetics fit PROBLEM.yaml --store FILE' makes one")
    if _is_json(file):
        about, result = _from_json(file)
        is_store = False
    else:
        with read_store(file, "start") as (meta, _, _pieces):
            about = meta["about"]
        result, is_store = read_fit(file), True
    making = _making(about.get("making"), file.name)
    place = Path(problem) if problem is not None else _problem_of(about, file)
    found = making.problem(place)
    objective = making.objective(found)
    asked, kept = dict(objective.fingerprint), dict(result.fingerprint)
    if asked != kept:
        changed = sorted(part for part in {*asked, *kept} if asked.get(part) != kept.get(part))
        raise StoreMismatch(
            f"{file.name} is the fit of another problem than {place.name} (changed: {', '.join(changed)}): undo the "
            "change, or name the right problem with --problem"
        )
    return StoredFit(file, place, result, found, objective, making, is_store)


def _making(document: object, name: str) -> Making:
    if document is None:  # made by `fits.optimise.fit` with default settings
        return Making()
    try:
        return Making(**cast("dict[str, Any]", document))
    except TypeError:
        raise InputError(f"{name} does not say how its problem was compiled, got {document!r:.80}") from None


def _problem_of(about: Mapping[str, Any], file: Path) -> Path:
    stated = about.get("problem")
    if not isinstance(stated, str) or not stated:
        raise InputError(f"{file.name} does not say which problem it is of; pass --problem PROBLEM.yaml")
    if stated in bundled_problems():
        return Path(stated)
    for folder in (file.resolve().parent, Path.cwd()):
        if (folder / stated).exists():
            return folder / stated
    raise ModelNotFound(f"the problem of {file.name} is not at {stated!r} any more; pass --problem PROBLEM.yaml")


def _is_json(file: Path) -> bool:
    with file.open("rb") as handle:
        return handle.read(64).lstrip()[:1] == b"{"


def _from_json(file: Path) -> tuple[Mapping[str, Any], FitResult]:
    if file.stat().st_size > LARGEST_RESULT:
        raise InputError(f"{file.name}: expected the result of a fit, got {file.stat().st_size} bytes")
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        records = [
            StartRecord.from_document(int(s["index"]), s, {"seconds": float(s["seconds"])}) for s in document["starts"]
        ]
        provenance = Provenance.from_dict(document["provenance"])
        result = assemble(document, records, document["settings"], document["fingerprint"], provenance)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{file.name}: expected what 'kinetics fit --json' prints, but {type(error).__name__}: {error}"
        ) from None
    return document, result


def described(result: FitResult, problem: str | Path, making: Making) -> dict[str, Any]:
    """A result as JSON that `open_fit` reads again; no absolute path gets into it."""
    document: dict[str, Any] = json.loads(result.to_json())
    stated = str(problem) if not Path(problem).is_absolute() else without_place(str(problem))
    return {**document, "problem": Path(stated).as_posix(), "making": asdict(making)}


def stored_kinds(path: str | Path) -> dict[str, dict[str, Any]]:
    """The kinds of pieces a store holds and their settings; kinds without a piece are left out."""
    with closing(sqlite3.connect(Path(path).resolve().as_uri() + "?mode=ro", uri=True, timeout=30.0)) as connection:
        rows = connection.execute(
            "SELECT kind, settings FROM kinds WHERE kind IN (SELECT DISTINCT kind FROM pieces) ORDER BY kind"
        ).fetchall()
    return {str(kind): json.loads(settings) for kind, settings in rows}
