"""Scales, offsets and noise levels solved for inside the objective, so that a search sees only what matters.

For normal noise a model value ``y = c + sum_j p_j g_j`` is linear in its scales and offsets ``p``, so their best values
are a linear regression; for log-normal noise a scale is a mean of log ratios; a noise level is the mean square (for
Laplace noise the mean absolute) residual.  At these inner optima the gradient by the remaining parameters is the
partial one (the envelope theorem), so it stays exact.  The optimum is that of the flat problem (Loos et al. 2018,
doi:10.1093/bioinformatics/bty514; Schmiester et al. 2020, doi:10.1093/bioinformatics/btz581).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fits.evaluation import Evaluation
from fits.noise import Likelihood
from fits.objective import ProblemObjective
from fits.parameters import ParameterSet
from fits.problem import Problem
from kinetics.differentiation import gradient
from kinetics.engine import Solver
from kinetics.errors import InputError, SimulationError
from kinetics.expression import Expression, Number, Symbol, substitute

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Inner:
    """Parameters that are solved for together, and the measurements that decide them."""

    linear: tuple[str, ...]  # scales and offsets
    noise: str  # the noise level of these rows, "" where it is known
    rows: IntArray  # that the linear parameters enter
    noise_rows: IntArray  # that the noise level enters
    logarithmic: bool  # the linear parameter is one scale under log-normal noise


class HierarchicalObjective:
    """A problem whose search vector leaves out what can be solved for; satisfies `fits.evaluation.Objective`."""

    def __init__(self, problem: Problem, solver: Solver | None = None) -> None:
        self.flat = ProblemObjective(problem, solver)
        self.inner = find_inner(self.flat)
        solved = {name for part in self.inner for name in (*part.linear, part.noise) if name}
        names = self.flat.names
        self._outer = np.array([i for i, name in enumerate(names) if name not in solved], dtype=np.intp)
        self._solved = np.array([i for i, name in enumerate(names) if name in solved], dtype=np.intp)
        if not len(self._outer):
            raise InputError(f"problem {problem.id!r}: every parameter can be solved for; there is nothing to search")

    @property
    def problem(self) -> Problem:
        return self.flat.problem

    @property
    def parameters(self) -> ParameterSet:
        """The parameters of the problem without those that are solved for."""
        return ParameterSet(p for p in self.flat.parameters.parameters if p.id not in self.solved)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.flat.names[i] for i in self._outer)

    @property
    def solved(self) -> tuple[str, ...]:
        """Parameters that are no longer searched."""
        return tuple(self.flat.names[i] for i in self._solved)

    @property
    def lower(self) -> FloatArray:
        return self.flat.lower[self._outer]

    @property
    def upper(self) -> FloatArray:
        return self.flat.upper[self._outer]

    @property
    def nominal(self) -> FloatArray:
        return self.flat.nominal[self._outer]

    @property
    def least_squares(self) -> bool:
        return False  # noise levels move with the point, so there is no fixed sum of squares

    @property
    def fingerprint(self) -> Mapping[str, str]:
        return {**self.flat.fingerprint, "solved": ",".join(self.solved)}

    def sample_prior(self, rng: np.random.Generator) -> FloatArray | None:
        drawn = self.flat.sample_prior(rng)
        return None if drawn is None else drawn[self._outer]

    def __reduce__(self) -> tuple[object, ...]:
        return (HierarchicalObjective, (self.flat.problem, self.flat.solver))

    def evaluate(self, x: npt.ArrayLike, *, derivatives: bool = False) -> Evaluation:
        flat = self.flat
        try:
            with self.flat.lock:
                values, tables = self._completed(x)
            details = {name: values[name] for name in self.solved}
            if not derivatives:
                simulated, sigma = flat.read(tables, values)
                value = float(np.sum(flat.likelihood.nllh(simulated, sigma))) - flat.log_prior(values)
                plain = Evaluation(value, details=details)
                return plain if flat.terms is None else flat.terms.added(plain, values, False)
        except (SimulationError, InputError) as error:
            return Evaluation(np.inf, failure=f"{type(error).__name__}: {error}")
        found = flat.evaluate(flat.parameters.scaled(values), derivatives=True)
        if found.failed:
            return Evaluation(found.value, failure=found.failure, details=details)
        assert found.gradient is not None
        hessian = None
        if found.hessian is not None:  # what is solved for follows the outer parameters: a Schur complement
            o, s = self._outer, self._solved
            cross = found.hessian[np.ix_(o, s)]
            inside = found.hessian[np.ix_(s, s)] + 1e-12 * np.eye(len(s))
            hessian = found.hessian[np.ix_(o, o)] - cross @ np.linalg.lstsq(inside, cross.T, rcond=None)[0]
        return replace(
            found,
            gradient=found.gradient[self._outer],
            hessian=hessian,
            residuals=None,
            jacobian=None,
            details={**found.details, **details},
        )

    def complete(self, x: npt.ArrayLike) -> FloatArray:
        """The flat problem's search vector: ``x`` and the best inner parameters for it, within their bounds."""
        return self.flat.parameters.scaled(self._completed(x)[0])

    def _completed(self, x: npt.ArrayLike) -> tuple[dict[str, float], list[FloatArray]]:
        """Plain values with the best inner parameters, and what was simulated on the way."""
        flat = self.flat
        full = np.where(np.isnan(flat.nominal), 0.0, flat.nominal)
        full[self._outer] = np.asarray(x, dtype=float)
        values = flat.parameters.plain(full)
        tables = flat.tables(values)
        for part in self.inner:
            values.update(dict.fromkeys(part.linear, 1.0 if part.logarithmic else 0.0))
            if part.noise:
                values[part.noise] = 1.0
        base = flat.read(tables, values)[0]
        for part in self.inner:
            self._solve(part, tables, values, base)
        simulated = flat.read(tables, values)[0]
        for part in self.inner:
            if part.noise:
                residuals = flat.likelihood.residuals(simulated, np.ones_like(simulated))[part.noise_rows]
                laplace = bool(flat.likelihood.laplace[part.noise_rows[0]])
                level = np.mean(np.abs(residuals)) if laplace else np.sqrt(np.mean(residuals**2))
                values[part.noise] = self._bounded(part.noise, float(level))
        flat.check(*flat.read(tables, values))
        return values, tables

    def _solve(self, part: Inner, tables: list[FloatArray], values: dict[str, float], base: FloatArray) -> None:
        likelihood = self.flat.likelihood
        if not part.linear:
            return
        if part.logarithmic:
            (name,) = part.linear
            with np.errstate(all="ignore"):
                ratio = np.log(likelihood.values[part.rows]) - np.log(base[part.rows])
            if not np.all(np.isfinite(ratio)):
                raise SimulationError(f"the scale {name!r} has no best value: a model value is not positive")
            values[name] = self._bounded(name, float(np.exp(np.mean(ratio))))
            return
        design = np.empty((len(part.rows), len(part.linear)))
        for column, name in enumerate(part.linear):
            moved = self.flat.read(tables, {**values, name: 1.0})[0]
            design[:, column] = moved[part.rows] - base[part.rows]
        target = likelihood.values[part.rows] - base[part.rows]
        if not part.noise:  # known sigmas may differ from row to row
            weights = 1.0 / self.flat.read(tables, values)[1][part.rows]
            design, target = design * weights[:, None], target * weights
        if not np.all(np.isfinite(design)):
            raise SimulationError(f"the scale {part.linear[0]!r} has no best value: the model is not finite")
        from scipy.optimize import lsq_linear

        bounds = [(self.flat.parameters[name].lower, self.flat.parameters[name].upper) for name in part.linear]
        unbounded = np.linalg.lstsq(design, target, rcond=None)[0]
        inside = all(low <= value <= high for value, (low, high) in zip(unbounded, bounds, strict=True))
        low, high = np.array(bounds).T
        best = unbounded if inside else lsq_linear(design, target, (low, high), method="bvls", tol=1e-14).x
        values.update({name: float(value) for name, value in zip(part.linear, best, strict=True)})

    def _bounded(self, name: str, value: float) -> float:
        parameter = self.flat.parameters[name]
        return float(min(max(value, parameter.lower), parameter.upper))


def find_inner(objective: ProblemObjective) -> tuple[Inner, ...]:
    """What of a problem can be solved for.

    A parameter qualifies if it is free, has no prior, enters nothing that is simulated nor a further term, and enters
    observables linearly as a scale or offset, or is a noise level all by itself; the measurements that share it must
    share their noise.
    """
    likelihood = objective.likelihood
    censored = np.isnan(likelihood.values)
    free = {p.id for p in objective.parameters.free if p.prior is None}
    if objective.terms is not None:
        free -= objective.terms.symbols
    for trial in objective.trials:
        free -= set(trial.model.description.entities)
        for stage in trial.stages:
            for _, change in stage.changes:
                if isinstance(change, Expression):
                    free -= change.names
    formulas: dict[int, Expression] = {}
    noises: dict[int, Expression] = {}
    for trial in objective.trials:
        for row, f, g in zip(trial.rows.tolist(), trial.formula.tolist(), trial.noise.tolist(), strict=True):
            formulas[row], noises[row] = trial.formulas[f], trial.formulas[g]
    in_noise = {name for noise in noises.values() for name in noise.names & free}
    levels = _levels(formulas, noises, free, censored)
    linear = _linear(formulas, free - in_noise, likelihood.transformation, likelihood.laplace, censored)
    parts: list[Inner] = []
    for names, rows in _components(linear):
        sigma = {noises[row] for row in rows}
        level = next(iter(sigma)).name if len(sigma) == 1 and isinstance(next(iter(sigma)), Symbol) else ""  # type: ignore[attr-defined]  # next() loses what isinstance says
        known = all(not noise.names for noise in sigma)
        if not _alike(likelihood, np.union1d(np.array(rows, np.intp), _rows(levels, level))):
            continue
        logarithmic = bool(likelihood.transformation[rows[0]])
        if (
            not (level in levels or known)
            or (logarithmic and len(names) > 1)
            or (logarithmic and known and len(sigma) > 1)
        ):
            continue
        parts.append(
            Inner(names, level if level in levels else "", np.array(rows, np.intp), _rows(levels, level), logarithmic)
        )
    used = {part.noise for part in parts}
    parts += [
        Inner((), name, np.array([], np.intp), _rows(levels, name), False)
        for name in levels
        if name not in used and _alike(likelihood, _rows(levels, name))
    ]
    return tuple(parts)


def _alike(likelihood: Likelihood, rows: IntArray) -> bool:
    """Whether all rows have one kind of noise: what mixes kinds has no closed form."""
    return len(set(likelihood.transformation[rows].tolist())) == 1 and len(set(likelihood.laplace[rows].tolist())) == 1


def _rows(levels: Mapping[str, list[int]], name: str) -> IntArray:
    return np.array(levels.get(name, []), dtype=np.intp)


def _levels(
    formulas: Mapping[int, Expression],
    noises: Mapping[int, Expression],
    free: set[str],
    censored: npt.NDArray[np.bool_],
) -> dict[str, list[int]]:
    """Noise levels that are a symbol by themselves wherever they occur, and their measurements."""
    found: dict[str, list[int]] = {}
    spoiled: set[str] = set()
    for row, noise in noises.items():
        if isinstance(noise, Symbol) and noise.name in free and not censored[row]:
            found.setdefault(noise.name, []).append(row)
        else:
            spoiled |= noise.names
        spoiled |= formulas[row].names
    return {name: rows for name, rows in found.items() if name not in spoiled}


def _linear(
    formulas: Mapping[int, Expression],
    free: set[str],
    transformation: npt.NDArray[np.int8],
    laplace: npt.NDArray[np.bool_],
    censored: npt.NDArray[np.bool_],
) -> dict[int, frozenset[str]]:
    """For each measurement the scales and offsets of its observable, without those that are not linear everywhere."""
    spoiled: set[str] = set()
    wanted: dict[int, frozenset[str]] = {}
    cache: dict[tuple[Expression, bool], tuple[frozenset[str], set[str]]] = {}
    for row, formula in formulas.items():
        logarithmic = bool(transformation[row])
        key = (formula, logarithmic)
        if key not in cache:
            cache[key] = _split(formula, free, logarithmic)
        wanted[row] = cache[key][0]
        spoiled |= cache[key][1]
        if laplace[row] or censored[row]:
            spoiled |= formula.names & free
    grown = True
    while grown:  # a formula that keeps an unsolved factor beside a scale is still linear in the scale
        grown = False
        for row, formula in formulas.items():
            kept, bad = _split(formula, free - spoiled, bool(transformation[row]))
            if bad - spoiled:
                spoiled |= bad
                grown = True
            wanted[row] = kept
    return {row: names - spoiled for row, names in wanted.items() if names - spoiled}


def _split(formula: Expression, free: set[str], logarithmic: bool) -> tuple[frozenset[str], set[str]]:
    """The parameters in which a formula is jointly linear, and those in which it is not."""
    candidates = sorted(formula.names & free)
    slopes = gradient(formula, candidates)
    good = [name for name in candidates if name in slopes and not slopes[name].names & set(candidates)]
    bad = set(candidates) - set(good)
    if logarithmic and good:
        rest = substitute(formula, dict.fromkeys(good, 0.0))
        if len(good) > 1 or rest != Number(0.0):  # only a pure scale is linear in the logarithm
            return frozenset(), set(candidates)
    return frozenset(good), bad


def _components(linear: Mapping[int, frozenset[str]]) -> list[tuple[tuple[str, ...], list[int]]]:
    """Parameters that share measurements belong together."""
    groups: list[tuple[set[str], list[int]]] = []
    for row, names in linear.items():
        joined: tuple[set[str], list[int]] = (set(names), [row])
        rest = []
        for group in groups:
            if group[0] & joined[0]:
                joined = (joined[0] | group[0], group[1] + joined[1])
            else:
                rest.append(group)
        groups = [*rest, joined]
    return [(tuple(sorted(names)), sorted(rows)) for names, rows in groups]
