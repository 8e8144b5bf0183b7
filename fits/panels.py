"""A fit against its data as numbers ready to be drawn: one panel for each observable, over time or over dose."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from fits.noise import LN10
from fits.objective import ProblemObjective
from fits.problem import Measurement, Problem, replace_problem
from fits.terms import NormalisedCurve
from kinetics.errors import InputError, SimulationError
from kinetics.schedule import resolve

FloatArray = npt.NDArray[np.float64]
LINE = 80  # times at which a model's line is simulated
LEAST_DOSES = 3
PER_DECADE = 6  # doses of a model's line


@dataclass(frozen=True, eq=False)
class Series:
    """Points of one experiment (or dose-response) and the model's line through them."""

    label: str
    x: FloatArray  # (n,), time or dose
    measured: FloatArray  # (n,), NaN where only limits are known
    low: FloatArray  # (n,), one sigma below the measurement, or the lower limit
    high: FloatArray  # (n,)
    model_x: FloatArray  # (m,), ascending
    model_y: FloatArray  # (m,)


@dataclass(frozen=True, eq=False)
class Panel:
    """All series of one observable."""

    title: str
    x_label: str
    y_label: str
    over_dose: bool
    series: tuple[Series, ...] = field(default=())


def panels(objective: ProblemObjective, values: Mapping[str, float]) -> tuple[Panel, ...]:
    """Measurements and model of every observable and every normalised curve, at plain values by name.

    Measurements at steady state have no place on a time axis and are left out.

    Raises:
        SimulationError: the problem cannot be simulated at these values.
    """
    problem = objective.problem
    simulated, sigma = objective.run(objective.complete(values))
    groups: dict[tuple[str, str], list[int]] = {}
    for index, row in enumerate(problem.measurements):
        groups.setdefault((row.model, row.observable), []).append(index)
    found = []
    lines = _lines(objective, values)
    for (model, name), indices in groups.items():
        observable = problem.observables[name]
        title = observable.name or name
        title = f"{title} ({model})" if model and len(problem.models) > 1 else title
        unit = f" [{observable.unit}]" if observable.unit else ""
        doses = _doses(problem, indices)
        if doses is not None:
            target, dose_unit, by_experiment = doses
            series = _over_dose(objective, values, indices, target, by_experiment, simulated, sigma)
            x_label = f"{target} [{dose_unit}]" if dose_unit else target
            found.append(Panel(title, x_label, f"{name}{unit}", True, series))
            continue
        series = _over_time(problem, indices, sigma, lines)
        time = problem.model_of(problem.measurements[indices[0]]).time_unit
        if series:
            found.append(Panel(title, f"time [{time}]" if time else "time", f"{name}{unit}", False, series))
    return (*found, *_terms(objective, values))


def _limits(problem: Problem, row: Measurement, sigma: float) -> tuple[float, float]:
    """One standard deviation to either side of a measurement, on the scale of its noise."""
    if row.censored:
        return row.lower, row.upper
    transformation = problem.observables[row.observable].distribution.transformation
    if transformation == "lin":
        return row.value - sigma, row.value + sigma
    factor = math.exp(min(sigma * (LN10 if transformation == "log10" else 1.0), 700.0))
    return row.value / factor, row.value * factor


def _key(row: Measurement) -> tuple[object, ...]:
    return row.model, row.observable, row.experiment, row.observable_overrides, row.noise_overrides


Lines = dict[tuple[object, ...], tuple[FloatArray, FloatArray]]


def _lines(objective: ProblemObjective, values: Mapping[str, float]) -> Lines:
    """The model between the measurements of each experiment; empty where it cannot be simulated there."""
    problem = objective.problem
    rows: dict[tuple[object, ...], list[Measurement]] = {}
    for row in problem.measurements:
        if math.isfinite(row.time):
            rows.setdefault(_key(row), []).append(row)
    dense = []
    for group in rows.values():
        times = sorted({row.time for row in group})
        if len(times) > 1:
            grid = np.unique(np.concatenate([np.linspace(times[0], times[-1], LINE), times]))
            first = replace(group[0], value=1.0, lower=-math.inf, upper=math.inf)  # any value; only the model counts
            dense += [replace(first, time=float(time)) for time in grid]
    if not dense:
        return {}
    try:
        made = ProblemObjective(
            replace_problem(problem, measurements=dense, terms=()), objective.solver, "finite differences"
        )
        simulated = made.simulate(dict(values))
    except SimulationError:
        return {}
    found: dict[tuple[object, ...], tuple[list[float], list[float]]] = {}
    for row, value in zip(dense, simulated.tolist(), strict=True):
        x, y = found.setdefault(_key(row), ([], []))
        x.append(row.time)
        y.append(value)
    return {key: (np.array(x), np.array(y)) for key, (x, y) in found.items()}


def _series(problem: Problem, label: str, x: list[float], indices: list[int], sigma: FloatArray) -> Series:
    rows = [problem.measurements[i] for i in indices]
    limits = [_limits(problem, row, float(sigma[i])) for row, i in zip(rows, indices, strict=True)]
    return Series(
        label,
        np.array(x, dtype=float),
        np.array([row.value for row in rows]),
        np.array([low for low, _ in limits]),
        np.array([high for _, high in limits]),
        np.empty(0),
        np.empty(0),
    )


def _over_time(problem: Problem, indices: list[int], sigma: FloatArray, lines: Lines) -> tuple[Series, ...]:
    by_experiment: dict[tuple[object, ...], list[int]] = {}
    for i in indices:
        if math.isfinite(problem.measurements[i].time):
            by_experiment.setdefault(_key(problem.measurements[i]), []).append(i)
    found = []
    for key, own in by_experiment.items():
        rows = [problem.measurements[i] for i in own]
        label = rows[0].experiment or "experiment"
        if rows[0].dataset:
            label = f"{label}, {rows[0].dataset}"
        points = _series(problem, label, [row.time for row in rows], own, sigma)
        line = lines.get(key)
        found.append(points if line is None else replace(points, model_x=line[0], model_y=line[1]))
    return tuple(found)


def _doses(problem: Problem, indices: list[int]) -> tuple[str, str, dict[str, float]] | None:
    """What is dosed, its unit and the dose by experiment; None where the observable is no dose-response."""
    rows = [problem.measurements[i] for i in indices]
    if len({row.time for row in rows}) != 1:
        return None
    model = problem.model_of(rows[0])
    symbols = {p.id for p in problem.parameters.parameters} - model.description.entities.keys()
    settings: dict[str, dict[str, float]] = {}
    for name in dict.fromkeys(row.experiment for row in rows):
        stages = resolve(model, problem.experiments[name], symbols=symbols)
        settings[name] = {}
        for stage in stages:  # the last setting of a target counts
            settings[name].update({t: float(v) for t, v in stage.changes if isinstance(v, int | float)})
    shared = set.intersection(*(set(found) for found in settings.values())) if settings else set()
    levels = {target: {found[target] for found in settings.values()} for target in sorted(shared)}
    chosen = max(levels, key=lambda target: len(levels[target]), default=None)
    if chosen is None or len(levels[chosen]) < LEAST_DOSES or min(levels[chosen]) < 0.0:
        return None
    return chosen, model.entity(chosen).unit, {name: found[chosen] for name, found in settings.items()}


def _over_dose(
    objective: ProblemObjective,
    values: Mapping[str, float],
    indices: list[int],
    target: str,
    doses: Mapping[str, float],
    simulated: FloatArray,
    sigma: FloatArray,
) -> tuple[Series, ...]:
    problem = objective.problem
    arms: dict[tuple[object, ...], list[int]] = {}
    for i in indices:
        row = problem.measurements[i]
        arms.setdefault((row.dataset, row.observable_overrides, row.noise_overrides), []).append(i)
    found = []
    for (dataset, *_), own in arms.items():
        x = [doses[problem.measurements[i].experiment] for i in own]
        points = _series(problem, str(dataset) or "measured", x, own, sigma)
        # One value of the model for each dose: replicates share it.
        line = dict(sorted(zip(x, simulated[own].tolist(), strict=True)))
        line |= _between(objective, values, problem.measurements[own[0]], target, sorted(line))
        ends = sorted(line)
        found.append(replace(points, model_x=np.array(ends), model_y=np.array([line[dose] for dose in ends])))
    return tuple(found)


def _between(
    objective: ProblemObjective, values: Mapping[str, float], row: Measurement, target: str, doses: list[float]
) -> dict[float, float]:
    """The model between the measured doses; empty where other doses cannot be given or simulated."""
    problem = objective.problem
    experiment = problem.experiments[row.experiment]
    given = [c for period in experiment.periods for c in period.conditions if target in c.changes]
    positive = [dose for dose in doses if dose > 0.0]
    if len(given) != 1 or len(positive) < 2:  # set twice: which of them is the dose?
        return {}
    count = 1 + math.ceil(PER_DECADE * math.log10(positive[-1] / positive[0]))
    grid = np.geomspace(positive[0], positive[-1], min(count, LINE)).tolist()[1:-1]
    made = {f"dose_{k}": experiment.replacing({target: dose}) for k, dose in enumerate(grid)}
    blank = replace(row, value=1.0, lower=-math.inf, upper=math.inf)  # any value; only the model counts
    dense = [replace(blank, experiment=name) for name in made]
    if not dense:
        return {}
    try:
        changed = replace_problem(problem, experiments=made, measurements=dense, terms=())
        simulated = ProblemObjective(changed, objective.solver, "finite differences").simulate(dict(values))
    except (SimulationError, InputError):
        return {}
    return dict(zip(grid, simulated.tolist(), strict=True))


def _terms(objective: ProblemObjective, values: Mapping[str, float]) -> list[Panel]:
    """Curves that are normalised inside the fit."""
    curves = [term for term in objective.problem.terms if isinstance(term, NormalisedCurve)]
    if not curves or objective.terms is None:
        return []
    predicted = objective.terms.predictions(objective.complete(values))
    found = []
    for curve in curves:
        doses = [curve.protocol.doses[point.dose] for point in curve.points]
        x = np.array([dose.value for dose in doses])
        errors = []
        for point in curve.points:
            error = curve.error if point.error is None else point.error
            errors.append(values.get(error, math.nan) if isinstance(error, str) else float(error))
        measured = np.array([point.value for point in curve.points])
        inside = [math.isnan(point.value) for point in curve.points]
        low = np.where(inside, [p.lower for p in curve.points], measured - errors)
        high = np.where(inside, [p.upper for p in curve.points], measured + errors)
        line = dict(sorted(zip(x.tolist(), predicted[curve.id].tolist(), strict=True)))
        unit = doses[0].unit
        label = f"{curve.protocol.target} [{unit}]" if unit else curve.protocol.target
        series = Series(curve.id, x, measured, low, high, np.array(list(line)), np.array(list(line.values())))
        found.append(Panel(curve.id, label, curve.protocol.readout.formula, True, (series,)))
    return found
