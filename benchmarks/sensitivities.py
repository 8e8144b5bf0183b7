"""Exact derivatives of a model's states by every parameter: what the two ways cost, and how well they agree.

``carried`` integrates companions inside the engine, in blocks of several sizes; ``along`` solves the variational
equations on the trajectory.  Times are medians in ms for one simulation of 16 output times, derivatives by all
parameters included; ``error`` is the largest difference from the carried ones at tight tolerances, relative to the
size of each state.  With BLAS on more than one thread small matrices get slower: set ``OPENBLAS_NUM_THREADS=1``.

    python benchmarks/sensitivities.py model.xml --end 240
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
import roadrunner

from kinetics.equations import read_equations
from kinetics.expression import ONE
from kinetics.sensitivity import sensitivity_model
from kinetics.slopes import starting_point
from kinetics.variational import Variational


def runner(sbml, rtol=1e-8, atol=1e-12):
    made = roadrunner.RoadRunner(sbml)
    made.integrator.relative_tolerance, made.integrator.absolute_tolerance = rtol, atol
    return made


def milliseconds(run, repeats):
    run()
    taken = []
    for _ in range(repeats):
        begun = time.perf_counter()
        run()
        taken.append(time.perf_counter() - begun)
    return 1e3 * statistics.median(taken)


def measure(path, end, repeats):
    begun = time.perf_counter()
    equations = read_equations(path.read_text())
    sizes = {size.name for size in equations.sizes.values() if size is not ONE}
    used = {name for row in equations.jacobian.values() for name in row} - sizes
    columns = [name for name in equations.constants if name in used and equations.defaults().get(name)]
    solver = Variational(equations, columns)
    start = starting_point(equations, columns)
    setup = time.perf_counter() - begun
    values, slopes = start({})
    scale = {column: values[column] for column in columns}
    times = np.linspace(0.0, end, 16)
    plain = runner(equations.sbml)
    species = {*plain.model.getFloatingSpeciesIds(), *plain.model.getBoundarySpeciesIds()}
    keys = [f"[{n}]" if n in species and equations.sizes[n] is not ONE else n for n in equations.states]

    def trajectory(at):
        plain.reset()
        return np.array(plain.simulate(times=list(at), selections=keys))

    print(f"{path.stem}: {len(equations.states)} states, {len(columns)} parameters, {end:g} time units")
    size = np.abs(trajectory(times)).max(axis=0)
    size = size + 1e-6 * size.max()
    print(f"  states alone          {milliseconds(lambda: trajectory(times), repeats):8.2f} ms")

    reference = np.zeros((len(times), len(equations.states), len(columns)))
    for block_size in (1, 2, 3, 6, None):
        begun = time.perf_counter()
        blocks = sensitivity_model(equations, columns, block_size=block_size).blocks
        runners = [runner(block.sbml, 1e-8, 1e-10) for block in blocks]
        cold = time.perf_counter() - begun

        def carried(runners=runners, blocks=blocks):
            tables = []
            for made, block in zip(runners, blocks, strict=True):
                made.resetToOrigin()
                for name, value in block.settings(slopes, scale).items():
                    made[name] = value
                selections = ["time", *block.names.values()]
                tables.append(np.array(made.simulate(times=list(times), selections=selections)))
            return tables

        if block_size is None:
            for made in runners:
                made.integrator.relative_tolerance, made.integrator.absolute_tolerance = 1e-11, 1e-14
            for table, block in zip(carried(), blocks, strict=True):
                for i, (state, column) in enumerate(block.names):
                    reference[:, equations.states.index(state), columns.index(column)] = table[:, i + 1]
            for made in runners:
                made.integrator.relative_tolerance, made.integrator.absolute_tolerance = 1e-8, 1e-10
        label = "automatic" if block_size is None else f"{block_size} a block"
        taken = milliseconds(carried, repeats)
        print(f"  carried, {label:<12} {taken:8.2f} ms  ({len(blocks)} blocks, cold {cold:.2f} s)")

    weights, initial = solver.arrays(slopes, scale)
    for tolerance in (1e-5, 1e-6, 1e-7):
        found = solver.solve(trajectory, times, values, weights, initial, tolerance=tolerance)

        def along(tolerance=tolerance, mesh=found.mesh):
            return solver.solve(trajectory, times, values, weights, initial, tolerance=tolerance, mesh=mesh)

        error = (np.abs(along().values - reference) / size[:, None]).max()
        taken = milliseconds(along, repeats)
        detail = f"{len(found.mesh)} steps, error {error:.0e}, cold {setup:.2f} s"
        print(f"  along, to {tolerance:.0e}       {taken:8.2f} ms  ({detail})")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path, help="SBML files")
    parser.add_argument("--end", type=float, default=100.0, help="end of the simulation, in the model's time unit")
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    for path in arguments.models:
        measure(path, arguments.end, arguments.repeats)


if __name__ == "__main__":
    main()
