"""``kinetics synergy``: is there synergy between two drugs, by how much, and could it be noise?"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fits.commands.common import (
    assignments,
    check_outputs,
    heartbeat,
    listed,
    load,
    one_line,
    parameters,
    print_json,
    solver,
    tsv,
    versions,
    workers,
    write_new,
    write_tables,
)
from fits.commands.curves import listed_doses
from fits.synergy.analysis import MODELS, synergy
from fits.synergy.outcome import SynergyResult
from fits.synergy.reading import read_combinations
from fits.synergy.wells import Combination, from_matrix
from kinetics.dosing import DoseProtocol, dose_matrix
from kinetics.errors import InputError
from kinetics.experiment import Experiment
from kinetics.observable import Readout

TABLES = (".csv", ".tsv")
SIMULATED = ("doses1", "doses2", "sets", "before", "equilibrate", "observe", "at", "param", "variant")
MEASURED = ("sample", "response", "unit")


def synergy_command(args: argparse.Namespace) -> int:
    """Score a table or a model."""
    check_outputs(args)
    models = tuple(listed(args.models, "--models")) if args.models else MODELS
    if len(args.drugs) not in (0, 2):
        raise InputError(f"expected two drugs or none, got {len(args.drugs)}: {', '.join(args.drugs)}")
    with heartbeat("analysing", args):
        found = _measured(args) if Path(args.model).suffix.lower() in TABLES else [_simulated(args)]
        results = [
            synergy(item, models, margins=args.margins, noise=args.noise, n=args.boot, seed=args.seed, level=args.level)
            for item in found
        ]
    write_tables(pd.concat([_table(result) for result in results], ignore_index=True), args)
    if args.plot:
        _plot(results, args)
    if args.json:
        print_json({"results": [as_json(result) for result in results], "versions": versions()})
    elif args.csv != "-":
        for number, result in enumerate(results):
            print("\n" * (number > 0) + "\n".join(one_line(sentence) for sentence in result.sentences) + "\n")
            frame = result.summary_frame()[["model", "quantity", "value", "low", "high", "p", "verdict"]]
            print(tsv(list(frame.columns), frame.itertuples(index=False)))
    return 0


def _refuse(args: argparse.Namespace, names: tuple[str, ...], what: str) -> None:
    for name in names:
        if getattr(args, name):
            option = {"sets": "--set"}.get(name, f"--{name}")
            raise InputError(f"{option} goes with {what}, {args.model!r} is none")


def _measured(args: argparse.Namespace) -> list[Combination]:
    _refuse(args, SIMULATED, "a model")
    return read_combinations(
        args.model, drugs=tuple(args.drugs) or None, sample=args.sample, response=args.response, dose_unit=args.unit,
        full_effect=args.full_effect,
    )  # fmt: skip


def _simulated(args: argparse.Namespace) -> Combination:
    _refuse(args, MEASURED, "a table (.csv, .tsv)")
    model = load(args)
    if not args.drugs:
        raise InputError("which two drugs? name them, as in: kinetics synergy il7_stat5_imatinib Imatinib Ruxolitinib")
    first, second = args.drugs
    for name in (first, second):
        model.entity(name)
    if not (args.doses1 and args.doses2):
        raise InputError(f"which doses? pass --doses1 '0,0.3,1,3 uM' for {first} and --doses2 for {second}")
    entry = model.entry
    observed, at = args.observe or (entry.readout if entry else ""), args.at or (entry.read_at if entry else "")
    if not observed or not at:
        raise InputError("what is read, and when? pass --observe and --at, as in --observe pSTAT5 --at '30 min'")
    lead: list[tuple[str, dict[str, str]]] = [(args.before, {})] if args.before else []
    changes = assignments(args.sets, "--set")
    schedule = Experiment.steps(*lead, (math.inf, changes), equilibrate=args.equilibrate)
    period = -2 if args.before else -1
    protocol = DoseProtocol(first, listed_doses(args.doses1, "--doses1"), Readout.at(observed, at), schedule, period)
    with workers(args) as executor:
        matrix = dose_matrix(
            model, protocol, second, listed_doses(args.doses2, "--doses2"), period=period, solver=solver(args),
            parameters=parameters(model, args.param, "--param"), executor=executor,
        )  # fmt: skip
    if not np.any(matrix.responses):
        hint = f", for example --set {entry.ligand}=..." if entry and entry.ligand else ""
        raise InputError(f"{observed} is 0 in every combination: the cells need their stimulus{hint}")
    return from_matrix(matrix, full_effect=args.full_effect)


def _table(result: SynergyResult) -> pd.DataFrame:
    frame = result.to_frame()
    frame.insert(0, "sample", result.combination.sample)
    return frame


def _plot(results: list[SynergyResult], args: argparse.Namespace) -> None:
    from fits import plotting_synergy
    from kinetics import plotting

    scored = [result for result in results if result.scores or result.fits]
    if not scored:
        raise InputError(f"there is nothing to draw: {results[0].notes[-1]}")
    if len(scored) == 1:
        ax = plotting_synergy.plot_synergy(scored[0])
    else:
        ax = plotting_synergy.plot_synergy_waterfall(scored, next(iter(scored[0].scores), "bliss"))

    def write(path: Path) -> None:
        plotting.save(ax, path)

    write_new(args.plot, write, force=args.force)


def as_json(result: SynergyResult) -> dict[str, Any]:
    """A result as JSON says it; doses above 0 only."""
    data, noise = result.combination, result.noise
    return {
        "sample": data.sample or None,
        "drugs": data.drugs,
        "dose_units": data.units,
        "doses": [data.first[1:], data.second[1:]],
        "wells": int(data.response.size),
        "readout": data.response_name,
        "full_effect": data.full_effect,
        "sign": "expected minus observed unaffected fraction; positive is synergy",
        "margins": result.margins_used,
        "noise": None if noise is None else {"sigma": noise.sigma, "freedom": noise.freedom, "weight": noise.weight},
        "level": result.level,
        "bootstrap_sets": result.n_boot,
        "seed": result.seed,
        "scores": {
            name: {
                "mean": s.mean, "low": s.mean_low, "high": s.mean_high, "p": s.p_mean, "verdict": s.verdict,
                "expected": s.expected[1:, 1:], "excess": s.excess, "excess_low": s.low, "excess_high": s.high,
                "p_corrected": s.p_cells,
            }
            for name, s in result.scores.items()
        },
        "surfaces": {
            name: {
                "parameters": {p.name: {"value": p.value, "low": p.low, "high": p.high, "neutral": p.neutral}
                               for p in fit.parameters},
                "p": fit.p, "verdict": fit.verdict, "rms": fit.rms,
            }
            for name, fit in result.fits.items()
        },
        "sentences": result.sentences,
    }  # fmt: skip
