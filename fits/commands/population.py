"""``kinetics fit`` for problems over samples, whose files have the section ``random_effects``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

from fits.commands.common import aligned, heartbeat, one_line, plain, print_json, silent, warn, write_new
from fits.optimise import FitInterrupted
from fits.population.calibration import STARTS, PopulationFit, calibrate, calibrated_path
from fits.population.problem import PopulationProblem, read_population
from fits.population.spread import compared
from fits.steroid.screens import Summary
from kinetics.errors import InputError

INTERRUPTED = 130
# Options of `kinetics fit` that say nothing here, and what they are when nobody gave them.
_ELSEWHERE = {
    "rtol": None, "atol": None, "gradients": "auto", "hierarchical": False, "sampling": "latin-hypercube",
    "candidates": 8, "evaluations": None, "start_seconds": None, "csv": None,
}  # fmt: skip


def fit_samples(args: argparse.Namespace) -> int:
    """Fit a problem over samples; 0 done."""
    for name, default in _ELSEWHERE.items():
        if getattr(args, name) != default:
            raise InputError(f"--{name.replace('_', '-')} has no meaning for a problem over samples; leave it out")
    if args.write_calibrated and args.case:
        raise InputError("--write-calibrated is for the problem itself, without --case")
    problem = read_population(args.problem, case=args.case)
    try:
        found = calibrate(
            problem, n_starts=STARTS if args.starts is None else args.starts, seed=args.seed, store=args.store,
            progress=not silent(args), workers=args.workers if args.workers > 1 else 0,
        )  # fmt: skip
    except FitInterrupted as stopped:
        warn(str(stopped), args)
        return INTERRUPTED
    with heartbeat("simulating samples", args):
        spread = compared(problem, found, seed=args.seed)
    if args.write_calibrated:
        write_calibrated(args.problem, found)
    if args.json:
        print_json({**found.to_dict(), "spread": {d: [_json(item) for item in pair] for d, pair in spread.items()}})
        return 0
    for sentence in sentences(problem, found, spread):
        print(one_line(sentence))
    print()
    rows = [(name, item.words, item.meaning or name) for name, item in found.estimates.items()]
    print(aligned([("parameter", "estimate (95 % interval)", ""), *rows], widest=44))
    print()
    effects = sorted(found.effects.items(), key=lambda item: item[1].value)
    own = [(s, f"{e.value:.3g}", f"{e.lower:.3g} to {e.upper:.3g}") for s, e in effects]
    print(aligned([("sample", f"factor on {problem.effect.quantity}", "95 % interval"), *own]))
    return 0


def sentences(
    problem: PopulationProblem, found: PopulationFit, spread: Mapping[str, tuple[Summary, Summary]]
) -> list[str]:
    """What was found, for people."""
    said = [problem.title, *problem.notes, *found.sentences]
    for drug, (measured, virtual) in spread.items():
        said += [f"{drug}, measured: {measured.words}", f"{drug}, simulated with noise: {virtual.words}"]
    return [text for text in said if text]


def write_calibrated(problem: str, found: PopulationFit) -> Path:
    """Write the calibration beside the problem's file, where predictions look for it."""
    path = calibrated_path(problem)
    text = json.dumps(found.to_dict(), indent=1, allow_nan=False) + "\n"
    write_new(str(path), lambda beside: _write(beside, text), force=True)
    return path


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _json(summary: Summary) -> object:
    return plain(vars(summary))
