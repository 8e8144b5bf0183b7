"""Predict T-ALL samples never seen: ``python benchmarks/predict_samples.py FILE.csv [--seed N] [--json]``.

FILE has the columns sample, lineage, screen, drug, conc_nM, replicate, viability (further ones do not matter; the
layout of ``fits/data/tall_glucocorticoids.csv`` is read too).  Rows of T-ALL samples under dexamethasone and
prednisolone are predicted from the bundled calibration of the problem ``tall_glucocorticoids``, the population alone
and noise included, and per drug ``N of M points inside the 90 % band`` is printed.  Then one dose of each sample is
given (the middle dose of its first curve; see ``fits.population.prediction.given_dose``), and the mean width of the
bands at its other doses stands beside the spread of the training samples at the same doses.

``python benchmarks/predict_samples.py --cross-validate [--folds K]`` does the same on the samples of the calibration,
each predicted by a fit that has not seen it (some minutes).

Exit status 0, or 2 where the file or the calibration is at fault.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fits.population.calibration import read_calibrated
from fits.population.prediction import SETS, Coverage, Predicted, Predictor, given_dose, raw_spread
from fits.population.tables import Well, read_wells
from fits.population.validation import FOLDS, cross_validate
from kinetics.errors import KineticsError

SAMPLES_SHOWN = 12


def main(argv: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    try:
        found = _validated(args) if args.cross_validate else _predicted(args)
    except KineticsError as error:
        print(f"predict_samples: {error}", file=sys.stderr)
        return 2
    if args.json:
        print(json.dumps(found, indent=2))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", nargs="?", type=Path, help="table of viabilities")
    parser.add_argument("--cross-validate", action="store_true", help="on the samples of the calibration instead")
    parser.add_argument("--folds", type=int, default=FOLDS, help=f"of the cross-validation ({FOLDS})")
    parser.add_argument("--seed", type=int, default=0, help="of draws and folds (0)")
    parser.add_argument(
        "--sets", type=int, default=SETS, help=f"draws of the shared parameters; 1: as if they were known ({SETS})"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    return parser


def _predicted(args: argparse.Namespace) -> dict[str, Any]:
    say = _say(args)
    problem, found = read_calibrated()
    if args.file is None:
        raise SystemExit("predict_samples: name a table, or pass --cross-validate")
    reading = read_wells(args.file, tuple(problem.species))
    for note in reading.notes:
        say(f"note: {note}")
    predictor = Predictor(problem, found, {(w.drug, w.dose) for w in reading.wells}, seed=args.seed, sets=args.sets)
    groups = {"never seen": [s for s in reading.samples if s not in problem.samples]}
    groups["of the calibration (no test of it)"] = [s for s in reading.samples if s in problem.samples]
    document: dict[str, Any] = {"calibration": dict(found.fingerprint), "groups": {}}
    for title, samples in groups.items():
        if samples:
            wells = [well for well in reading.wells if well.sample in samples]
            say(f"{len(samples)} samples {title}: {_listed(samples)}")
            alone = predictor.bands(wells)
            given = [g for s in samples for g in predictor.bands_given([w for w in wells if w.sample == s])]
            document["groups"][title] = _reported(alone, given, problem.wells, say)
    return document


def _reported(
    alone: Sequence[Predicted], given: Sequence[Predicted], training: Sequence[Well], say: Callable[[str], None]
) -> dict[str, Any]:
    document: dict[str, Any] = {"drugs": {}}
    for drug in sorted({item.well.drug for item in alone}):
        found = Coverage.of([item for item in alone if item.well.drug == drug])
        inside = f"{found.inside} of {found.wells} points inside the 90 % band ({found.share:.1%})"
        say(f"  {drug}: {inside}, mean width {found.width:.3f}")
        document["drugs"][drug] = {"inside": found.inside, "points": found.wells, "mean_width": found.width}
    if not given:
        say("  no sample has a second dose, so none can be predicted from one of its own")
        return document
    wells = [item.well for item in alone]
    points = {given_dose([w for w in wells if w.sample == s]) for s in {w.sample for w in wells}}
    known = ", ".join(sorted({f"{drug} {dose:g} nM" for drug, _, dose in points}))
    after = Coverage.of(given)
    say(f"  with one dose of each sample given (the middle one of its first curve: {known}):")
    inside = f"{after.inside} of {after.wells} other points inside the 90 % band ({after.share:.1%})"
    say(f"    {inside}, mean width {after.width:.3f}")
    document["given"] = {"inside": after.inside, "points": after.wells, "mean_width": after.width}
    compared = raw_spread(training, given)
    if compared is None:
        say("    no dose is shared with the training samples, so their spread cannot be compared")
        return document
    raw, widths = compared
    width = float(np.mean(widths))
    word = "narrower" if width < raw.width else "NOT narrower"
    say(f"    at the {raw.wells} points whose doses the training samples share: mean width {width:.3f},")
    say(f"    {word} than the raw 90 % spread of the training samples there, {raw.width:.3f}")
    document["given"] |= {"shared_points": raw.wells, "mean_width_there": width, "raw_spread_there": raw.width}
    return document


def _validated(args: argparse.Namespace) -> dict[str, Any]:
    say = _say(args)
    problem, found = read_calibrated()

    def progress(text: str) -> None:
        print(f"predict_samples: {text}", file=sys.stderr, flush=True)

    result = cross_validate(problem, found, folds=args.folds, seed=args.seed, sets=args.sets, say=progress)
    predictor = Predictor(problem, found, {(w.drug, w.dose) for w in problem.wells}, seed=args.seed, sets=args.sets)
    own = Coverage.of(predictor.bands(problem.wells))
    inside = f"{own.inside} of {own.wells} points inside the 90 % band ({own.share:.1%})"
    say(f"in-sample: {inside}, mean width {own.width:.3f}")
    document: dict[str, Any] = {"in_sample": vars(own), "drugs": {}, "folds": args.folds, "seed": args.seed}
    say(f"{args.folds}-fold cross-validation over {len(problem.samples)} samples:")
    for drug, (alone, given) in result.by_drug().items():
        text = f"  {drug}: {alone.inside} of {alone.wells} points inside the 90 % band ({alone.share:.1%})"
        document["drugs"][drug] = {"alone": vars(alone)}
        if given is not None:
            text += f"; with one dose of the sample given {given.inside} of {given.wells} ({given.share:.1%})"
            document["drugs"][drug]["given"] = vars(given)
        say(text)
    both = {"alone": Coverage.of(result.alone), "given": Coverage.of(result.given)}
    for name, item in both.items():
        say(f"  all, {name}: {item.inside} of {item.wells} ({item.share:.1%}), mean width {item.width:.3f}")
        document[name] = vars(item)
    count = sum(raw.wells for raw, _ in result.raw)
    if count:
        spread = sum(raw.wells * raw.width for raw, _ in result.raw) / count
        width = sum(raw.wells * mean for raw, mean in result.raw) / count
        say(f"  with one dose given, at doses shared: mean width {width:.3f}, raw spread of the others {spread:.3f}")
        document["shared"] = {"points": count, "mean_width": width, "raw_spread": spread}
    return document


def _say(args: argparse.Namespace) -> Callable[[str], None]:
    return (lambda text: None) if args.json else (lambda text: print(text, flush=True))


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SAMPLES_SHOWN} more" if len(names) > SAMPLES_SHOWN else ""
    return ", ".join(names[:SAMPLES_SHOWN]) + more


if __name__ == "__main__":
    sys.exit(main())
