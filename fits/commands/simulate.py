"""``kinetics simulate``: one experiment, quantities over time."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import numpy as np

from fits.commands.common import (
    assignments,
    check_json,
    check_outputs,
    heartbeat,
    listed,
    load,
    parameters,
    print_json,
    say_check,
    solver,
    steps,
    tsv,
    versions,
    with_unit,
    write_archive,
    write_new,
    write_tables,
)
from kinetics.accuracy import convergence
from kinetics.errors import InputError
from kinetics.experiment import Experiment
from kinetics.model import Model
from kinetics.schedule import time_in
from kinetics.simulation import simulate as run
from kinetics.timecourse import TimeCourse

POINTS = 61
MOST_POINTS = 1_000_000


def experiment_of(args: argparse.Namespace) -> Experiment:
    """Steps, then what ``--set`` sets at time 0."""
    return Experiment.steps(
        *steps(args.steps, "--step"), (math.inf, assignments(args.sets, "--set")), equilibrate=args.equilibrate
    )


def times_of(model: Model, args: argparse.Namespace) -> list[float]:
    """Output times in the model's unit.

    Raises:
        InputError: both or neither of ``--times`` and ``--end``, or times nobody can mean.
    """
    if args.times is not None and args.end is not None:
        raise InputError("--times and --end exclude each other; pass one of them")
    if args.times is not None:
        if args.points is not None:
            raise InputError("--points goes with --end, not with --times")
        return [time_in(model, text, "--times") for text in listed(args.times, "--times")]
    end = args.end or (model.entry.read_at if model.entry else None)
    if end is None:
        raise InputError("pass --times, as in --times 0,10,30, or --end, as in --end '60 min'")
    points = POINTS if args.points is None else args.points
    if not 2 <= points <= MOST_POINTS:
        raise InputError(f"--points must be between 2 and {MOST_POINTS}, got {points}")
    last = time_in(model, end, "--end")
    if not (0.0 < last < math.inf):
        raise InputError(f"--end must be positive and finite, got {end!r}; the steady state is --times inf")
    return [float(value) for value in np.linspace(0.0, last, points)]


def simulate(args: argparse.Namespace) -> int:
    """Simulate an experiment and print it."""
    check_outputs(args)
    model = load(args)
    experiment, times, settings = experiment_of(args), times_of(model, args), solver(args)
    values = parameters(model, args.param, "--param")
    with heartbeat("simulating", args):
        course = run(model, experiment, times, args.observe, solver=settings, parameters=values)
        check = None
        if args.check:
            check = convergence(model, experiment, times, args.observe, solver=settings, parameters=values)
    if args.plot:
        _plot(course, args)
    write_tables(course.to_frame(), args)
    if args.omex:
        from kinetics.sedml import simulation_archive

        archive = simulation_archive(model, experiment, times, args.observe, solver=settings, parameters=values)
        write_archive(archive, args)
    if args.json:
        print_json({**_as_json(model, course, values), **check_json(check)})
    say_check(check, args)
    if not args.json and args.csv != "-":
        heads = [with_unit(name, unit) for name, unit in zip(course.observables, course.units, strict=True)]
        rows = ([float(t), *map(float, row)] for t, row in zip(course.times, course.values, strict=True))
        print(tsv([with_unit("time", course.time_unit), *heads], rows))
    return 0


def _plot(course: TimeCourse, args: argparse.Namespace) -> None:
    from kinetics import plotting

    ax = plotting.plot_time_course(course, ax=plotting.new_axes())

    def write(path: Path) -> None:
        plotting.save(ax, path)

    write_new(args.plot, write, force=args.force)


def _as_json(model: Model, course: TimeCourse, values: dict[str, float]) -> dict[str, Any]:
    return {
        "model": course.model,
        "variant": model.variant_name or None,
        "parameters": values,
        "time_unit": course.time_unit,
        "times": course.times,
        "observables": [
            {"name": name, "unit": unit, "values": course[name]}
            for name, unit in zip(course.observables, course.units, strict=True)
        ],
        "status": course.status.value,
        "solver": {"rtol": course.solver.rtol, "atol": course.solver.atol},
        "versions": versions(),
    }
