"""A problem as a function of its parameters: likelihood, priors and further terms, with derivatives.

``compile_problem(problem)`` returns a `ProblemObjective`, which satisfies `fits.evaluation.Objective`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from fits.derivatives import TrialDerivatives
from fits.evaluation import Evaluation
from fits.noise import Likelihood
from fits.parameters import ParameterSet, Scale
from fits.problem import Problem
from fits.trial import Trial, runner_for, trials_of
from kinetics.engine import Solver
from kinetics.errors import InputError, KineticsError, SimulationError
from kinetics.model import Model
from kinetics.runner import Runner

if TYPE_CHECKING:
    from fits.terms import TermSet

FloatArray = npt.NDArray[np.float64]
Gradients = Literal["auto", "exact", "finite differences"]

STEP = 1e-4  # of finite differences, on the search scale: truncation 1e-8, far above the solver's noise


class ProblemObjective:
    """A problem under one solver, ready to be evaluated."""

    def __init__(self, problem: Problem, solver: Solver | None = None, gradients: Gradients = "auto") -> None:
        self.problem, self.solver, self.gradients = problem, solver or Solver(), gradients
        self.parameters: ParameterSet = problem.parameters
        self._names = self.parameters.names
        self._lower, self._upper = self.parameters.lower, self.parameters.upper
        self.trials: list[Trial] = trials_of(problem)
        rows = problem.measurements
        self.likelihood = Likelihood.of(rows, [problem.observables[row.observable] for row in rows])
        self._runners: list[tuple[Runner, list[int]]] = []
        by_model: dict[int, list[Trial]] = {}
        for trial in self.trials:
            by_model.setdefault(id(trial.model), []).append(trial)
        for group in by_model.values():
            runner, columns = runner_for(group, self.solver, [p.id for p in self.parameters.parameters])
            for trial in group:
                self._runners.append((runner, [columns[name] for name in trial.symbols]))
        order = {id(trial): number for number, trial in enumerate(t for group in by_model.values() for t in group)}
        self._runners = [self._runners[order[id(trial)]] for trial in self.trials]
        self._overrides = {id(model): self._overridden(model) for model in problem.models.values()}
        self._derivatives: list[TrialDerivatives] | None = None
        self.lock = threading.RLock()
        self.terms: TermSet | None = None
        if problem.terms:
            from fits.terms import TermSet  # which needs objectives of its own

            self.terms = TermSet(problem, self.solver, gradients)

    def _overridden(self, model: Model) -> tuple[str, ...]:
        """Parameters of the problem that are the model's own, and replace its values."""
        found = []
        for parameter in self.parameters.parameters:
            entity = model.description.entities.get(parameter.id)
            if entity is None:
                continue
            if not entity.settable:
                raise InputError(
                    f"parameter {parameter.id!r} of problem {self.problem.id!r} cannot be set in model {model.name!r}: "
                    f"{entity.why_fixed}"
                )
            found.append(parameter.id)
        return tuple(found)

    # --- the Objective protocol -----------------------------------------------------------------------------

    @property
    def names(self) -> tuple[str, ...]:
        return self._names

    @property
    def lower(self) -> FloatArray:
        return self._lower

    @property
    def upper(self) -> FloatArray:
        return self._upper

    @property
    def nominal(self) -> FloatArray:
        return self.parameters.nominal

    @property
    def least_squares(self) -> bool:
        """Whether the value is half a sum of squares plus a constant."""
        if self.problem.terms or not self.likelihood.simple or any(p.prior for p in self.parameters.free):
            return False
        free = set(self._names)
        for trial in self.trials:
            for number in set(trial.noise.tolist()):
                needs = trial.formulas[number].names
                if needs & free or needs & trial.model.description.entities.keys() or "$time" in needs:
                    return False
        return True

    @property
    def fingerprint(self) -> Mapping[str, str]:
        problem = self.problem

        def digest(thing: object) -> str:
            return hashlib.sha256(json.dumps(thing, default=repr, sort_keys=True).encode()).hexdigest()[:16]

        return {
            "model": digest({name: [m.sbml, dict(m.values)] for name, m in problem.models.items()}),
            "parameters": digest([repr(p) for p in problem.parameters.parameters]),
            "observables": digest([repr(o) for o in problem.observables.values()]),
            "experiments": digest({name: repr(e.periods) for name, e in problem.experiments.items()}),
            "measurements": digest([repr(row) for row in problem.measurements]),
            "terms": digest([repr(term) for term in problem.terms]),
            "solver": digest([repr(self.solver), self.gradients]),
        }

    def sample_prior(self, rng: np.random.Generator) -> FloatArray | None:
        if not any(parameter.start or parameter.prior for parameter in self.parameters.free):
            return None
        drawn = np.empty(len(self._names))
        for index, parameter in enumerate(self.parameters.free):
            low, high = self._lower[index], self._upper[index]
            prior = parameter.start or parameter.prior  # where starts are drawn may be stated apart from the prior
            if prior is None:
                if not (np.isfinite(low) and np.isfinite(high)):
                    return None
                drawn[index] = rng.uniform(low, high)
                continue
            for _ in range(1000):  # priors are truncated by the bounds
                value = float(np.atleast_1d(prior.sample(rng, 1))[0])
                if parameter.lower <= value <= parameter.upper and (parameter.scale is Scale.LIN or value > 0.0):
                    break
            else:
                raise InputError(f"the prior of parameter {parameter.id!r} lies outside its bounds")
            scaled = parameter.scale.scaled(value)
            drawn[index] = scaled
        return drawn

    def evaluate(self, x: npt.ArrayLike, *, derivatives: bool = False) -> Evaluation:
        vector = np.asarray(x, dtype=float)
        if vector.shape != (len(self._names),):
            raise InputError(
                f"expected {len(self._names)} values, one per estimated parameter, got shape {vector.shape}"
            )
        try:
            values = self.parameters.plain(vector)
            with self.lock:  # runners and meshes are one evaluation's own
                return self._evaluate(vector, values, derivatives)
        except SimulationError as error:
            return Evaluation(np.inf, failure=f"{type(error).__name__}: {error}")
        except InputError as error:  # a value that cannot be, such as a negative concentration, is data too
            return Evaluation(np.inf, failure=f"{type(error).__name__}: {error}")

    def __reduce__(self) -> tuple[object, ...]:
        return (ProblemObjective, (self.problem, self.solver, self.gradients))

    # --- values ---------------------------------------------------------------------------------------------

    def run(self, values: Mapping[str, float]) -> tuple[FloatArray, FloatArray]:
        """Simulations and sigmas of all measurements, each of shape ``(n_measurements,)``.

        Raises:
            SimulationError, InputError: an experiment cannot be simulated at these values.
        """
        with self.lock:
            simulated, sigma = self.read(self.tables(values), values)
        self.check(simulated, sigma)
        return simulated, sigma

    def tables(self, values: Mapping[str, float]) -> list[FloatArray]:
        """The engine's columns for each trial: all that has to be integrated at these values."""
        prepared: set[int] = set()
        found = []
        for trial, (runner, _) in zip(self.trials, self._runners, strict=True):
            if id(runner) not in prepared:
                prepared.add(id(runner))
                self._prepare(runner, trial.model, values)
            with runner.engine.lock:
                found.append(runner(trial.stages, trial.times, trial.experiment))
        return found

    def read(self, tables: list[FloatArray], values: Mapping[str, float]) -> tuple[FloatArray, FloatArray]:
        """Simulations and sigmas from `tables`: algebra alone."""
        simulated = np.empty(len(self.problem.measurements))
        sigma = np.empty(len(self.problem.measurements))
        for trial, (_, columns), table in zip(self.trials, self._runners, tables, strict=True):
            outputs = trial.outputs(table, columns, values)
            simulated[trial.rows] = outputs[trial.formula, trial.when]
            sigma[trial.rows] = outputs[trial.noise, trial.when]
        return simulated, sigma

    def _prepare(self, runner: Runner, model: Model, values: Mapping[str, float]) -> None:
        names = self._overrides[id(model)] if id(model) in self._overrides else self._overridden(model)
        runner.prepare({name: values[name] for name in names}, values)

    def check(self, simulated: FloatArray, sigma: FloatArray) -> None:
        """Refuse simulations that are not finite, and sigmas that are not positive."""
        if not np.all(np.isfinite(simulated)):
            row = self.problem.measurements[int(np.argmax(~np.isfinite(simulated)))]
            raise SimulationError(
                f"observable {row.observable!r} is not finite in experiment {row.experiment!r} at time {row.time:g}"
            )
        logarithmic = (self.likelihood.transformation != 0) & ~(simulated > 0.0)
        if np.any(logarithmic):
            row = self.problem.measurements[int(np.argmax(logarithmic))]
            raise SimulationError(
                f"observable {row.observable!r} has logarithmic noise and must be positive, got "
                f"{simulated[int(np.argmax(logarithmic))]:g} in experiment {row.experiment!r} at time {row.time:g}"
            )
        if not np.all(sigma > 0.0) or not np.all(np.isfinite(sigma)):
            bad = int(np.argmax(~((sigma > 0.0) & np.isfinite(sigma))))
            row = self.problem.measurements[bad]
            raise InputError(
                f"sigma of observable {row.observable!r} must be positive and finite, got {sigma[bad]:g} in experiment "
                f"{row.experiment!r} at time {row.time:g}; check its noise formula"
            )

    def simulate(self, values: Mapping[str, float]) -> FloatArray:
        """The model's value for each measurement, shape ``(n_measurements,)``, at plain values by name."""
        return self.run(self.complete(values))[0]

    def complete(self, values: Mapping[str, float]) -> dict[str, float]:
        """Plain values with the nominal ones of fixed parameters added."""
        fixed = {p.id: p.nominal for p in self.parameters.parameters if not p.estimate}
        return {**fixed, **values}

    def nllh(self, values: Mapping[str, float]) -> float:
        """Negative log-likelihood of all measurements at plain values by name."""
        simulated, sigma = self.run(self.complete(values))
        return float(np.sum(self.likelihood.nllh(simulated, sigma)))

    def chi2(self, values: Mapping[str, float]) -> float:
        """Sum of squared residuals on the scale of the noise."""
        simulated, sigma = self.run(self.complete(values))
        return float(np.sum(self.likelihood.residuals(simulated, sigma) ** 2))

    def log_prior(self, values: Mapping[str, float]) -> float:
        """Log density of the priors at plain values by name; 0 without priors."""
        complete, total = self.complete(values), 0.0
        for parameter in self.parameters.free:
            if parameter.prior is not None:
                total += parameter.prior.log_density(complete[parameter.id])
        return float(total)

    # --- derivatives ----------------------------------------------------------------------------------------

    @property
    def inexact(self) -> Mapping[str, str]:
        """Free parameters without exact derivatives, and why."""
        if self.gradients == "finite differences":
            return dict.fromkeys(self._names, "finite differences were asked for")
        found: dict[str, str] = {}
        for part in self._prepared_derivatives():
            found.update(part.inexact)
        return {name: found[name] for name in self._names if name in found}

    def _prepared_derivatives(self) -> list[TrialDerivatives]:
        if self._derivatives is None:
            shared: dict[object, object] = {}
            parts = [
                TrialDerivatives(
                    trial, self.parameters, self._overridden(trial.model), self.solver, shared, self.trials
                )
                for trial in self.trials
            ]
            reference = self.nominal
            middle = 0.5 * (np.nan_to_num(self._lower, neginf=-3.0) + np.nan_to_num(self._upper, posinf=3.0))
            values = self.parameters.plain(np.where(np.isnan(reference), middle, reference))
            for part in parts:
                if not part.why:
                    part.learn(values)
            self._derivatives = parts
        return self._derivatives

    def _evaluate(self, x: FloatArray, values: dict[str, float], derivatives: bool) -> Evaluation:
        if not derivatives:
            simulated, sigma = self.run(values)
            value = float(np.sum(self.likelihood.nllh(simulated, sigma))) - self.log_prior(values)
            residuals = self.likelihood.residuals(simulated, sigma) if self.least_squares else None
            return self._with_terms(Evaluation(value, residuals=residuals), values, False)
        simulated, sigma, by_model, by_sigma, exact = self._slopes(x, values)
        parts, d_model, d_sigma = self.likelihood.derivatives(simulated, sigma)
        scale = self.parameters.slopes(values)  # d(plain)/d(search)
        gradient = (d_model @ by_model + d_sigma @ by_sigma) * scale + self._prior_slopes(values) * 1.0
        weights = self.likelihood.fisher(simulated, sigma)
        scaled_model, scaled_sigma = by_model * scale, by_sigma * scale
        hessian = scaled_model.T @ (weights[0][:, None] * scaled_model)
        hessian += scaled_sigma.T @ (weights[1][:, None] * scaled_sigma)
        hessian += np.diag(self._prior_curvatures(values))
        residuals = jacobian = None
        if self.least_squares:
            residuals = self.likelihood.residuals(simulated, sigma)
            jacobian = scaled_model / sigma[:, None]
        found = Evaluation(
            float(np.sum(parts)) - self.log_prior(values), gradient, residuals, jacobian, exact, hessian=hessian
        )
        return self._with_terms(found, values, True)

    def _with_terms(self, found: Evaluation, values: Mapping[str, float], derivatives: bool) -> Evaluation:
        return found if self.terms is None else self.terms.added(found, values, derivatives)

    def _prior_slopes(self, values: Mapping[str, float]) -> FloatArray:
        """d(-log prior)/d(search scale), shape ``(n,)``."""
        slopes = np.zeros(len(self._names))
        for index, parameter in enumerate(self.parameters.free):
            if parameter.prior is None:
                continue
            value = values[parameter.id]
            slopes[index] = -parameter.prior.slope(value) * parameter.scale.slope(value)
        return slopes

    def _prior_curvatures(self, values: Mapping[str, float]) -> FloatArray:
        """Second derivatives of -log prior on the search scale where they are positive, shape ``(n,)``."""
        found = np.zeros(len(self._names))
        for index, parameter in enumerate(self.parameters.free):
            if parameter.prior is not None:
                at = parameter.scale.scaled(values[parameter.id])
                near = [{**values, parameter.id: parameter.scale.plain(at + step)} for step in (STEP, -STEP)]
                up, down = (self._prior_slopes(moved)[index] for moved in near)
                found[index] = max(0.0, (up - down) / (2.0 * STEP))
        return np.where(np.isfinite(found), found, 0.0)

    def _exact_slopes(
        self,
        values: Mapping[str, float],
        simulated: FloatArray,
        sigma: FloatArray,
        by_model: FloatArray,
        by_sigma: FloatArray,
    ) -> None:
        """Fill in what the variational equations give; trials without exact derivatives are left out."""
        column = {name: index for index, name in enumerate(self._names)}
        parts = [part for part in self._prepared_derivatives() if not part.why]
        for part in parts:
            part.clear()
        for part in parts:
            outputs, slopes, names = part(values)
            trial = part.trial
            simulated[trial.rows] = outputs[trial.formula, trial.when]
            sigma[trial.rows] = outputs[trial.noise, trial.when]
            where = np.array([column[name] for name in names], dtype=np.intp)
            by_model[np.ix_(trial.rows, where)] = slopes[trial.formula, trial.when]
            by_sigma[np.ix_(trial.rows, where)] = slopes[trial.noise, trial.when]

    def _slopes(
        self, x: FloatArray, values: Mapping[str, float]
    ) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, bool]:
        """Simulations, sigmas and their derivatives by the plain free parameters, ``(n_measurements, n)`` each."""
        n, m = len(self._names), len(self.problem.measurements)
        simulated, sigma = np.empty(m), np.empty(m)
        by_model, by_sigma = np.zeros((m, n)), np.zeros((m, n))
        rough = set(self.inexact)
        if len(rough) < n:
            try:
                self._exact_slopes(values, simulated, sigma, by_model, by_sigma)
            except SimulationError:  # where the derivative does not exist the value may: take differences
                by_model[:], by_sigma[:] = 0.0, 0.0
                rough = set(self._names)
        if len(rough) == n or any(part.why for part in self._prepared_derivatives()):
            simulated, sigma = self.run(values)
        self.check(simulated, sigma)
        for index, name in enumerate(self._names):
            if name not in rough:
                continue
            step = STEP * max(1.0, abs(x[index]))
            ends = [(values[name], simulated, sigma)]  # stands in for a neighbour that cannot be simulated
            for sign in (1.0, -1.0):
                moved = x.copy()
                moved[index] = min(max(x[index] + sign * step, self._lower[index]), self._upper[index])
                nearby = self.parameters.plain(moved)
                with contextlib.suppress(SimulationError, InputError):
                    ends.append((nearby[name], *self.run(nearby)))
            first, last = ends[1 if len(ends) == 3 else 0], ends[-1]
            width = first[0] - last[0]
            if width == 0.0:
                raise SimulationError(
                    f"no neighbour of {name!r} = {values[name]:g} can be simulated, so it has no slope"
                )
            by_model[:, index] = (first[1] - last[1]) / width
            by_sigma[:, index] = (first[2] - last[2]) / width
        return simulated, sigma, by_model, by_sigma, not rough


def compile_problem(problem: Problem, solver: Solver | None = None, gradients: Gradients = "auto") -> ProblemObjective:
    """Make a problem a function of its parameters.

    Args:
        gradients: ``"auto"`` takes exact derivatives where they are certain and finite differences elsewhere.

    Raises:
        KineticsError: a formula, experiment or measurement does not fit the model.
    """
    if gradients not in ("auto", "exact", "finite differences"):
        raise InputError(f"gradients must be 'auto', 'exact' or 'finite differences', got {gradients!r}")
    objective = ProblemObjective(problem, solver, gradients)
    if gradients == "exact" and (
        rough := {**objective.inexact, **(objective.terms.inexact if objective.terms else {})}
    ):
        name, why = next(iter(rough.items()))
        raise KineticsError(f"no exact derivative by {name!r}: {why}")
    return objective
