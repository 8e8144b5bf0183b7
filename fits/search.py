"""One start, from its number to its record: draw candidates, let them race, follow the best downhill."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from fits.evaluation import Evaluation, FloatArray, Objective
from fits.local import Descent, ExitReason, Tolerance, slope_of, usable
from fits.result import StartRecord, without_numbers
from fits.starts import StartDesign, draw, draw_more, search_range
from kinetics.errors import InputError

METHOD = "box trust region 2"  # part of the settings: a changed method must not continue another's store
LONGEST_MESSAGE = 500
MOST_KINDS_OF_FAILURE = 20


@dataclass(frozen=True)
class Limits:
    """How much one start may cost."""

    evaluations: int = 1000  # of the candidate that won, after its first
    start_seconds: float = 3600.0  # looked at between evaluations
    evaluation_seconds: float = 600.0  # a worker that is silent for longer hangs and is ended
    redraws: int = 50  # further candidates when none of the first can be evaluated

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not value >= (0 if name == "redraws" else 1e-3):
                raise InputError(f"limit {name!r} must be positive, got {value}")


@dataclass(frozen=True)
class Search:
    """Everything but the objective that the end of a start depends on."""

    seed: int = 0
    design: StartDesign = field(default_factory=StartDesign)
    limits: Limits = field(default_factory=Limits)
    tolerance: Tolerance = field(default_factory=Tolerance)

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise InputError(f"seed must not be negative, got {self.seed}")

    def settings(self) -> dict[str, Any]:
        return {
            "method": METHOD,
            "seed": self.seed,
            "starts": self.design.settings(),
            "limits": asdict(self.limits),
            "tolerance": asdict(self.tolerance),
        }


def run_start(objective: Objective, search: Search, index: int, alive: Callable[[], None] | None = None) -> StartRecord:
    """Run one start to its end; an error of the objective is an end too.

    ``alive`` is called before every evaluation.
    """
    began = time.monotonic()
    counter = _Counted(objective, alive or (lambda: None))
    try:
        record = _run(objective, counter, search, index, began + search.limits.start_seconds)
    except Exception as error:  # whatever the objective raised must not cost the other starts
        message = f"{type(error).__name__}: {error}"[:LONGEST_MESSAGE]
        record = _failed(counter, objective, index, ExitReason.ERROR, message)
    object.__setattr__(record, "circumstances", circumstances(time.monotonic() - began))
    return record


def circumstances(seconds: float) -> dict[str, Any]:
    """What may differ between two runs of one start; memory is resident, in bytes, 0 where it cannot be told."""
    finished = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {
        "seconds": round(seconds, 6), "finished": finished, "pid": os.getpid(), "host": platform.node(),
        "memory": memory(),
    }  # fmt: skip


def memory() -> int:
    """Resident memory of this process in bytes; its peak where only that is known; 0 on Windows."""
    if sys.platform == "win32":
        return 0
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


class _Counted:
    """The objective with a count of its evaluations and of the reasons they failed for."""

    def __init__(self, objective: Objective, alive: Callable[[], None]) -> None:
        self._objective, self._alive = objective, alive
        self.evaluations = 0
        self.failures: Counter[str] = Counter()  # by the first message of each kind
        self._examples: dict[str, str] = {}
        self.exact = True

    def __call__(self, x: FloatArray, derivatives: bool = True) -> Evaluation:
        self._alive()
        self.evaluations += 1
        evaluation = self._objective.evaluate(x, derivatives=derivatives)
        if derivatives:
            self.exact = self.exact and evaluation.exact
        if evaluation.failed or (derivatives and not usable(evaluation)):
            silent = "the objective is not finite" if evaluation.failed else "the derivatives are not finite"
            reason = (evaluation.failure or silent)[:LONGEST_MESSAGE]
            kind = without_numbers(reason)
            if kind not in self._examples and len(self._examples) >= MOST_KINDS_OF_FAILURE:
                kind, reason = "", "other reasons"
            self.failures[self._examples.setdefault(kind, reason)] += 1
        return evaluation


def _run(objective: Objective, evaluate: _Counted, search: Search, index: int, deadline: float) -> StartRecord:
    won = _race(objective, evaluate, search, index, deadline)
    if won is None:
        common = evaluate.failures.most_common(1)
        message = f"{evaluate.evaluations} points tried" + (f", most often: {common[0][0]}" if common else "")
        return _failed(evaluate, objective, index, ExitReason.NO_POINT, message)
    start, descent, reason = won
    if reason is ExitReason.EVALUATIONS:  # of its heat
        reason = descent.advance(search.limits.evaluations - descent.iterations, deadline)
    last = descent.evaluation
    return StartRecord(
        index,
        start,
        descent.x,
        float(last.value),
        slope_of(last),
        reason,
        evaluations=evaluate.evaluations,
        iterations=descent.iterations,
        failures=dict(evaluate.failures),
        exact=evaluate.exact,
        details={name: float(value) for name, value in last.details.items()},
    )


def _race(
    objective: Objective, evaluate: _Counted, search: Search, index: int, deadline: float
) -> tuple[FloatArray, Descent, ExitReason] | None:
    """Where the winning candidate began, how far it got, and why it paused; ``None`` if no point can be evaluated.

    The values of random points say little about where they lead, those after a few steps much: on the PEtab problem
    of Boehm et al. (2014) one random start in eight finds the optimum, and more than half of the races of eight do.
    """
    lower, upper = np.asarray(objective.lower, dtype=float), np.asarray(objective.upper, dtype=float)
    scale = search_range(objective, search.design, search.seed)

    def begin(point: FloatArray) -> Descent | None:
        first = evaluate(point)
        return Descent(evaluate, point, first, lower, upper, scale, search.tolerance) if usable(first) else None

    heat = min(search.design.heat if search.design.candidates > 1 else 0, search.limits.evaluations)
    won: tuple[FloatArray, Descent, ExitReason] | None = None
    for point in draw(objective, search.design, search.seed, index):
        if time.monotonic() > deadline:
            break
        descent = begin(point)
        if descent is None:
            continue
        reason = descent.advance(heat, deadline)
        if won is None or descent.evaluation.value < won[1].evaluation.value:
            won = point, descent, reason
    if won is not None:
        return won
    # After so many failures the first point that works will do.
    for point in draw_more(objective, search.design, search.seed, index, search.limits.redraws):
        if time.monotonic() > deadline:
            break
        descent = begin(point)
        if descent is not None:
            return point, descent, ExitReason.EVALUATIONS
    return None


def _failed(counter: _Counted, objective: Objective, index: int, reason: ExitReason, message: str) -> StartRecord:
    return StartRecord.failed(
        index,
        len(objective.names),
        reason,
        message,
        evaluations=counter.evaluations,
        failures=dict(counter.failures),
        exact=counter.exact,
    )
