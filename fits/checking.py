"""Whether a problem is fit to be fitted: what looks wrong in it, one evaluation, and its gradient.

``check_problem(problem)`` is what ``kinetics check`` prints; `fits.tolerance_check` is the check after a fit.
"""

from __future__ import annotations

import enum
import math
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from fits.gradient_check import GradientCheck, gradient_check
from fits.objective import ProblemObjective, compile_problem
from fits.parameters import Scale
from fits.problem import Problem
from fits.starts import StartDesign, draw
from kinetics.engine import Solver
from kinetics.errors import InputError, KineticsError, SimulationError
from kinetics.expression import Expression
from kinetics.formula import parse
from kinetics.schedule import resolve

TRIED_STARTS = 5
_SHOWN = 6  # names in one sentence


class Level(enum.Enum):
    """How much a finding matters."""

    ERROR = "error"  # the problem cannot be fitted like this
    WARNING = "warning"  # it can, but the answer will not be what one thinks
    NOTE = "note"


@dataclass(frozen=True)
class Finding:
    """One thing that was found, in words."""

    level: Level
    text: str


@dataclass(frozen=True, eq=False)
class ProblemCheck:
    """What the check of a problem found."""

    problem: str
    findings: tuple[Finding, ...]
    value: float  # of the objective at the nominal point; inf where it cannot be evaluated
    seconds: float  # of one evaluation, after the first
    gradient: GradientCheck | None  # None: it could not be computed, or was not asked for
    counts: dict[str, int] = field(default_factory=dict)  # parameters, measurements, experiments, ...

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong; warnings are allowed."""
        return not any(finding.level is Level.ERROR for finding in self.findings)

    def of(self, level: Level) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.level is level)

    @property
    def sentences(self) -> tuple[str, ...]:
        """Everything in words, the worst first."""
        found = [", ".join(f"{number} {name}" for name, number in self.counts.items()) + "."]
        for level in Level:
            found += [f"{level.value.capitalize()}: {finding.text}" for finding in self.of(level)]
        if math.isfinite(self.value):
            found.append(
                f"The objective at the nominal values is {self.value:.7g}; one evaluation takes "
                f"{1e3 * self.seconds:.3g} ms."
            )
        if self.gradient is not None:
            found += self.gradient.sentences
        verdict = "Nothing is wrong" if self.sound else "This problem cannot be fitted as it is"
        warned = len(self.of(Level.WARNING))
        found.append(f"{verdict}{f', but {warned} warning{_s(warned)}' if warned else ''}.")
        return tuple(found)

    def __str__(self) -> str:
        return "\n".join(self.sentences)


def check_problem(
    problem: Problem, *, seed: int = 0, gradient: bool = True, solver: Solver | None = None
) -> ProblemCheck:
    """Look a problem over, evaluate it once at its nominal values, and check its gradient.

    Args:
        seed: of the point at which the gradient is checked and of the starting points that are tried.
        gradient: whether to check the gradient, which costs a few evaluations for every parameter.

    Raises nothing that is the problem's fault: that is what the findings are for.
    """
    findings = list(lint(problem))
    value, seconds, checked = math.inf, math.nan, None
    try:
        objective = compile_problem(problem, solver)
    except KineticsError as error:
        findings.append(Finding(Level.ERROR, str(error)))
        return ProblemCheck(problem.id, tuple(findings), value, seconds, None, _counts(problem))
    value, seconds = _evaluate_once(objective, findings)
    findings += _starts(objective, seed)
    if gradient and objective.names:
        try:
            checked = gradient_check(objective, seed=seed)
        except SimulationError as error:
            findings.append(Finding(Level.ERROR, str(error)))
        else:
            findings += _gradient_findings(checked)
    return ProblemCheck(problem.id, tuple(findings), value, seconds, checked, _counts(problem))


def _counts(problem: Problem) -> dict[str, int]:
    free = len(problem.parameters.free)
    return {
        f"model{_s(len(problem.models))}": len(problem.models),
        "estimated parameters": free,
        "fixed parameters": len(problem.parameters) - free,
        "observables": len(problem.observables),
        "experiments": len(problem.experiments),
        "measurements": len(problem.measurements),
        **({"further terms": len(problem.terms)} if problem.terms else {}),
    }


def _evaluate_once(objective: ProblemObjective, findings: list[Finding]) -> tuple[float, float]:
    nominal = objective.nominal
    missing = [name for name, x in zip(objective.names, nominal, strict=True) if not math.isfinite(x)]
    if missing:
        text = f"{_few(missing)} {_have(missing)} no nominal value on the search scale; evaluated mid-range instead"
        findings.append(Finding(Level.NOTE, text))
        lower, upper = np.nan_to_num(objective.lower, neginf=-3.0), np.nan_to_num(objective.upper, posinf=3.0)
        nominal = np.where(np.isfinite(nominal), nominal, 0.5 * (lower + upper))
    first = objective.evaluate(nominal)
    if first.failed:
        reason = first.failure or "the objective is not finite"
        findings.append(Finding(Level.ERROR, f"it cannot be evaluated at the nominal values: {reason}"))
        return math.inf, math.nan
    began = time.perf_counter()
    objective.evaluate(nominal)
    return first.value, time.perf_counter() - began


def _starts(objective: ProblemObjective, seed: int) -> Iterator[Finding]:
    """Whether starting points can be drawn and simulated."""
    if not objective.names:
        return
    try:
        points = draw(objective, StartDesign(candidates=TRIED_STARTS), seed, 0)
    except InputError as error:
        yield Finding(Level.ERROR, f"no starting points can be drawn: {error}")
        return
    failures = [found.failure for found in map(objective.evaluate, points) if found.failed]
    if len(failures) == len(points):
        yield Finding(Level.ERROR, f"none of {len(points)} starting points can be simulated: {failures[0]}")
    elif failures:
        text = f"{len(failures)} of {len(points)} starting points cannot be simulated: {failures[0]}"
        yield Finding(Level.NOTE, text)


def _gradient_findings(checked: GradientCheck) -> Iterator[Finding]:
    # Finite differences in the objective itself are known to be rough, so they are a warning at most.
    wrong = [name for name in checked.wrong if name not in checked.inexact]
    if wrong:
        worst = max(wrong, key=lambda name: checked.wrong[name])
        yield Finding(
            Level.ERROR,
            f"the gradient is wrong in {_few(wrong)} (by {checked.wrong[worst]:.1e} of the largest component); this is "
            "a fault of the program, please report it, and fit with gradients='finite differences'",
        )
    silent = [n for n, g, r in zip(checked.names, checked.gradient, checked.reference, strict=True) if g == 0.0 == r]
    if silent:
        text = f"the objective does not depend on {_few(silent)}; fix what cannot be fitted"
        yield Finding(Level.WARNING, text)


# --- lint ---------------------------------------------------------------------------------------------------


def lint(problem: Problem) -> Iterator[Finding]:
    """What looks wrong without simulating anything."""
    yield from _about_parameters(problem)
    yield from _about_use(problem)
    yield from _about_measurements(problem)


def _about_parameters(problem: Problem) -> Iterator[Finding]:
    free = problem.parameters.free
    if not free:
        yield Finding(Level.ERROR, "no parameter is estimated")
    for parameter in free:
        low, high, nominal, name = parameter.lower, parameter.upper, parameter.nominal, repr(parameter.id)
        if not math.isnan(nominal) and not low <= nominal <= high:
            text = f"the nominal value {nominal:g} of {name} lies outside its bounds {low:g} to {high:g}"
            yield Finding(Level.WARNING, text)
        elif nominal in (low, high):
            yield Finding(Level.NOTE, f"the nominal value {nominal:g} of {name} is one of its bounds")
        if parameter.scale is not Scale.LIN and low == 0.0:
            yield Finding(
                Level.WARNING,
                f"{name} is searched on the {parameter.scale.value} scale down to 0, which is infinitely far; give it "
                "a positive lower bound",
            )
        if parameter.scale is Scale.LIN and low > 0.0 and high / low > 1e3 and math.isfinite(high):
            yield Finding(
                Level.NOTE,
                f"{name} ranges over {high / low:.0e} on the linear scale; the log10 scale would search all of it",
            )
        if parameter.prior is not None and not math.isnan(nominal):
            if parameter.prior.log_density(nominal) == -math.inf:
                yield Finding(Level.WARNING, f"the prior of {name} rules its nominal value {nominal:g} out")
    used = [row for row in problem.measurements if not row.censored]
    if len(used) <= len(free) and not problem.terms and not any(p.prior for p in free):
        yield Finding(
            Level.WARNING,
            f"{len(free)} parameters are estimated from {len(used)} measurements, so some of them cannot be identified",
        )


def _about_use(problem: Problem) -> Iterator[Finding]:
    """Things that are declared and never used."""
    measured = Counter(row.observable for row in problem.measurements)
    idle = [name for name in problem.observables if name not in measured]
    if idle and not problem.terms:
        yield Finding(Level.NOTE, f"{_few(idle)} {_have(idle)} no measurements")
    performed = {row.experiment for row in problem.measurements}
    unread = [name for name in problem.experiments if name not in performed]
    if unread and not problem.terms:
        yield Finding(Level.NOTE, f"nothing was measured in {_few(unread)}")
    names = _names_in_use(problem)
    if names is not None:
        unused = [p.id for p in problem.parameters.free if p.id not in names]
        if unused and not problem.terms:
            yield Finding(
                Level.WARNING,
                f"{_few(unused)} {'is' if len(unused) == 1 else 'are'} estimated but used in no model, formula or "
                "condition",
            )


def _names_in_use(problem: Problem) -> set[str] | None:
    """Every name that a model, a formula, a condition or a measurement mentions; None where one cannot be read."""
    names: set[str] = set()
    try:
        for observable in problem.observables.values():
            names |= parse(observable.formula).names | parse(observable.noise).names
        for row in problem.measurements:
            names |= {item for item in (*row.observable_overrides, *row.noise_overrides) if isinstance(item, str)}
        symbols = {parameter.id for parameter in problem.parameters.parameters}
        for key, model in problem.models.items():
            names |= model.description.entities.keys()
            first = key == next(iter(problem.models))
            performed = {r.experiment for r in problem.measurements if r.model == key or (first and not r.model)}
            for name in performed:
                for stage in resolve(model, problem.experiments[name], symbols=symbols - names):
                    for _, change in stage.changes:
                        names |= change.names if isinstance(change, Expression) else set()
    except KineticsError:
        return None  # compiling the problem will say it better
    return names


def _about_measurements(problem: Problem) -> Iterator[Finding]:
    by_observable: dict[str, list[float]] = {}
    for row in problem.measurements:
        if not row.censored:
            by_observable.setdefault(row.observable, []).append(row.value)
    for name, values in by_observable.items():
        if len(values) > 3 and len(set(values)) == 1:
            text = f"all {len(values)} measurements of {name!r} are {values[0]:g}"
            yield Finding(Level.WARNING, text)
        size = np.abs(values)
        positive = size[size > 0.0]
        noise = problem.observables[name].noise
        if len(positive) and noise.replace(".", "", 1).isdigit() and float(noise) > 0.0:
            share = float(noise) / float(np.max(positive))
            if problem.observables[name].distribution.transformation == "lin" and (share > 10.0 or share < 1e-6):
                text = f"sigma of {name!r} is {noise}, but the largest measurement is {np.max(positive):g}"
                yield Finding(Level.WARNING, text)


def _few(names: list[str]) -> str:
    shown = ", ".join(map(repr, names[:_SHOWN]))
    return shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _have(names: list[str]) -> str:
    return "has" if len(names) == 1 else "have"


def _s(count: int) -> str:
    return "" if count == 1 else "s"
