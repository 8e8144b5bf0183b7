"""``kinetics check`` and ``kinetics fit``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from fits.checking import check_problem
from fits.commands.common import (
    aligned,
    heartbeat,
    one_line,
    print_json,
    versions,
    warn,
    write_csv,
)
from fits.evaluation import Objective
from fits.gradient_check import GradientCheck, inexact_of
from fits.optimise import FitInterrupted, fit
from fits.population.problem import has_random_effects
from fits.problem import Problem
from fits.result import FitResult, read_fit
from fits.search import Limits
from fits.starts import Sampling, StartDesign
from fits.stored import Making, described, fit_sentences, flat_of, flat_result, prepare_store
from fits.tolerance_check import ToleranceCheck, check_tolerances
from kinetics.engine import Solver
from kinetics.errors import InputError

INTERRUPTED = 130
STARTS = 10


# --- check --------------------------------------------------------------------------------------------------


def check(args: argparse.Namespace) -> int:
    """Look a problem over; 0 nothing is wrong, 1 it cannot be fitted like this."""
    problem = Making(case=args.case).problem(args.problem)
    with heartbeat("checking the problem", args):
        found = check_problem(problem, seed=args.seed, gradient=not args.no_gradient)
    if args.json:
        print_json(
            {
                "problem": found.problem,
                "sound": found.sound,
                "counts": found.counts,
                "findings": [{"level": item.level.value, "text": item.text} for item in found.findings],
                "notes": problem.notes,
                "objective": found.value,
                "milliseconds": 1e3 * found.seconds,
                "gradient": gradient_json(found.gradient),
                "sentences": found.sentences,
                "versions": versions(),
            }
        )
        return int(not found.sound)
    print(f"problem {one_line(found.problem)}")
    for note in problem.notes:
        print(f"note of the reader: {one_line(note)}")
    for sentence in found.sentences:
        print(one_line(sentence))
    return int(not found.sound)


def gradient_json(found: GradientCheck | None) -> dict[str, Any] | None:
    """The check of a gradient as JSON."""
    if found is None:
        return None
    return {
        "largest": found.largest,
        "largest_relative": found.largest_relative,
        "sound": found.sound,
        "exact": found.exact,
        "by_parameter": found.by_parameter,
        "inexact": found.inexact,
        "sentences": found.sentences,
    }


# --- fit ----------------------------------------------------------------------------------------------------


def fit_command(args: argparse.Namespace) -> int:
    """Estimate parameters; 0 done, 1 no start succeeded."""
    if args.workers < 1:
        raise InputError(f"--workers must be at least 1, got {args.workers}")
    if has_random_effects(args.problem):
        from fits.commands.population import fit_samples

        return fit_samples(args)
    if args.write_calibrated:
        raise InputError("--write-calibrated is for problems over samples; use --store or --json here")
    check_table(args)
    given = {name: getattr(args, name) for name in ("rtol", "atol") if getattr(args, name) is not None}
    solver = Solver(**given)  # refuses tolerances that cannot be
    making = Making(solver.rtol, solver.atol, args.gradients, args.hierarchical, args.case)
    problem = making.problem(args.problem)
    objective = making.objective(problem)
    if args.store:
        prepare_store(args.store, objective, args.problem, making)
    try:
        result = fit(
            objective,
            n_starts=STARTS if args.starts is None else args.starts,
            seed=args.seed,
            design=StartDesign(Sampling(args.sampling), args.candidates),
            limits=_limits(args),
            workers=args.workers if args.workers > 1 else 0,
            store=args.store,
        )
    except FitInterrupted as stopped:
        warn(str(stopped), args)
        return INTERRUPTED
    checked = None
    if result.succeeded:
        with heartbeat("checking tolerances", args):
            checked = check_tolerances(flat_of(objective), flat_result(objective, result))
    sentences = (*fit_sentences(objective, result, checked), *_left_out(args, result))
    if args.csv:
        write_csv(result.to_frame(), args)
    if args.json:
        print_json({**_fit_json(args, problem, objective, making, result, checked), "sentences": sentences})
    elif args.csv != "-":
        for sentence in sentences:
            print(one_line(sentence))
        if result.succeeded:
            print()
            print(aligned([("parameter", "value", "unit", "bounds", ""), *_rows(problem, objective, result)]))
    if args.store and not args.json:
        warn(f"everything is kept in {args.store}", args)
    return int(not result.succeeded)


def _left_out(args: argparse.Namespace, result: FitResult) -> tuple[str, ...]:
    """Starts that the store holds beyond those that were asked for."""
    if not args.store:
        return ()
    kept = len(read_fit(args.store).starts)
    if kept <= len(result.starts):
        return ()
    return (
        f"The store holds {kept} starts; this is about the first {len(result.starts)}, as --starts {args.starts} asks. "
        f"Say --starts {kept} to have all of them.",
    )


def check_table(args: argparse.Namespace) -> None:
    """Refuse a table that could not be written before anything is computed.

    Raises:
        InputError: saying why.
    """
    if args.csv == "-" and args.json:
        raise InputError("--csv - and --json both want standard output; pass one of them")
    if args.csv and args.csv != "-":
        if Path(args.csv).exists() and not args.force:
            raise InputError(f"{args.csv!r} exists and is left as it is; pass --force to overwrite it")
        if not Path(args.csv).resolve().parent.is_dir():
            raise InputError(f"cannot write {args.csv!r}: its folder does not exist")


def _limits(args: argparse.Namespace) -> Limits:
    given: dict[str, Any] = {}
    if args.evaluations is not None:
        given["evaluations"] = args.evaluations
    if args.start_seconds is not None:
        given["start_seconds"] = args.start_seconds
    return Limits(**given)


def best_values(problem: Problem, objective: Objective, result: FitResult) -> dict[str, float]:
    """Plain values of all parameters at the best point."""
    return problem.parameters.plain(flat_result(objective, result).best.x)


def _rows(problem: Problem, objective: Objective, result: FitResult) -> list[tuple[str, ...]]:
    values, bounds = best_values(problem, objective, result), result.at_bounds()
    solved = set(getattr(objective, "solved", ()))
    rows: list[tuple[str, ...]] = []
    for p in problem.parameters.free:
        remark = f"at its {bounds[p.id]} bound" if p.id in bounds else "solved for" if p.id in solved else ""
        rows.append((p.id, f"{values[p.id]:.6g}", p.unit, f"{p.lower:g} to {p.upper:g}", remark))
    return rows


def _fit_json(
    args: argparse.Namespace,
    problem: Problem,
    objective: Objective,
    making: Making,
    result: FitResult,
    checked: ToleranceCheck | None,
) -> dict[str, Any]:
    bounds = result.at_bounds() if result.succeeded else {}
    values = best_values(problem, objective, result) if result.succeeded else {}
    return {
        "id": problem.id,
        "objective": result.value if result.succeeded else None,
        "agreeing": len(result.agreeing()) if result.succeeded else 0,
        "parameters": {
            p.id: {
                "value": values[p.id],
                "unit": p.unit,
                "scale": p.scale.value,
                "lower": p.lower,
                "upper": p.upper,
                "at_bound": bounds.get(p.id),
            }
            for p in problem.parameters.free
            if values
        },
        "tolerance_check": None
        if checked is None
        else {
            "difference": checked.difference,
            "changes_conclusion": checked.changes_conclusion,
            "sentence": checked.sentence,
        },
        "inexact": inexact_of(objective),
        **described(result, args.problem, making),
    }
