"""What the tests of derivatives share: the bare engine, tight finite differences, and the two exact ways."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import roadrunner

from kinetics.equations import Equations, read_equations
from kinetics.expression import ONE
from kinetics.sensitivity import sensitivity_model
from kinetics.slopes import starting_point
from kinetics.variational import Variational

SHARED = Path(__file__).parents[2] / "shared"


def runner(sbml, rtol, atol):
    made = roadrunner.RoadRunner(sbml)
    made.integrator.relative_tolerance = rtol
    made.integrator.absolute_tolerance = atol
    made.integrator.maximum_num_steps = 100_000
    return made


class Runs:
    """A model in the bare engine, at its own values or at others."""

    def __init__(self, sbml: str, *, rtol: float = 1e-8, atol: float = 1e-12) -> None:
        self.equations: Equations = read_equations(sbml)
        self.runner = runner(self.equations.sbml, rtol, atol)
        inside = self.runner.model
        self.species = {*inside.getFloatingSpeciesIds(), *inside.getBoundarySpeciesIds()}
        self.in_amount = set()
        import libsbml

        model = libsbml.readSBMLFromString(self.equations.sbml).getModel()
        self.in_amount = {s.getId() for s in model.getListOfSpecies() if s.getHasOnlySubstanceUnits()}

    def key(self, name):
        return f"[{name}]" if name in self.species - self.in_amount else name

    def set(self, values, made=None):
        made = made or self.runner
        compartments = set(made.model.getCompartmentIds())
        named = [name for name in values if name not in self.equations.assigned]
        for name in sorted(named, key=lambda name: name not in compartments):  # sizes first: amounts follow them
            made[self.key(name)] = values[name]

    def simulate(self, times, values):
        self.runner.resetToOrigin()
        self.set(values)
        selections = ["time", *map(self.key, self.equations.states)]
        return np.array(self.runner.simulate(times=list(times), selections=selections))[:, 1:]

    def differences(self, times, column, start, step=1e-3):
        """d(states)/d(column) by a central formula of order 4, shape (n_times, n_states)."""
        value = start({})[0][column.removeprefix("init_")]
        h = step * (abs(value) or 1.0)
        at = [self.simulate(times, start({column: value + k * h})[0]) for k in (-2, -1, 1, 2)]
        return (at[0] - 8.0 * at[1] + 8.0 * at[2] - at[3]) / (12.0 * h)


def carried(runs: Runs, columns, times, *, rtol=1e-10, atol=1e-13, **options):
    """d(states)/d(column) from a model that carries them, shape (n_times, n_states, n_columns)."""
    equations = runs.equations
    model = sensitivity_model(equations, columns, **options)
    assert model.exact, model.why
    values, slopes = starting_point(equations, columns)({})
    result = np.zeros((len(times), len(equations.states), len(columns)))
    for block in model.blocks:
        made = runner(block.sbml, rtol, atol)
        runs.set(values, made)
        for name, value in block.settings(slopes).items():
            made[name] = value
        table = np.array(made.simulate(times=list(times), selections=["time", *block.names.values()]))
        for i, (state, column) in enumerate(block.names):
            result[:, equations.states.index(state), columns.index(column)] = table[:, i + 1]
    return result


def along(runs: Runs, columns, times, tolerance=1e-8):
    """The same from the variational equations along the trajectory."""
    equations = runs.equations
    values, slopes = starting_point(equations, columns)({})
    solver = Variational(equations, columns)
    assert not solver.inexact
    weights, start = solver.arrays(slopes)

    def states(t):
        return runs.simulate(t, values)

    return solver.solve(states, np.asarray(times), values, weights, start, tolerance=tolerance).values


def moving_columns(equations: Equations):
    """The constants that a state depends on, without compartments (whose size the engine rescales)."""
    compartments = {size.name for size in equations.sizes.values() if size is not ONE}
    used = {name for row in equations.jacobian.values() for name in row} & set(equations.constants)
    return [name for name in equations.constants if name in used - compartments]
