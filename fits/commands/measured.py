"""``kinetics curves``: measured curves from a file, in numbers and words."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from fits.commands.common import (
    assignments,
    check_outputs,
    heartbeat,
    listed,
    one_line,
    print_json,
    versions,
    warn,
    write_csv,
    write_new,
)
from fits.curvefiles.reading import read_curves
from fits.curvefit.fitting import CurveFits, fit_curves
from fits.curvefit.inhibition import Inhibition, compare_inhibition
from fits.curvefit.points import Points, points_of
from fits.curvefit.results import ArmResult, Estimate, describe_arms
from fits.curvefit.shifts import MeasuredShift, measured_shift
from fits.reported import ReportedCurve
from kinetics.errors import InputError

MOST_SHOWN = 7  # arms in a picture


def curves_command(args: argparse.Namespace) -> int:
    """Read, fit, describe, compare."""
    check_outputs(args)
    arm = [part for part in args.arm.split(",") if part] if args.arm else []
    curve = read_curves(
        args.file, arm=arm, dose=args.dose, response=args.response, inhibitor=args.inhibitor, dose_unit=args.dose_unit,
        inhibitor_unit=args.inhibitor_unit, log_dose=args.log_dose, swap_axes=args.swap_axes, sheet=args.sheet,
        decimal=args.decimal,
    )  # fmt: skip
    if args.inhibitor:
        return _family(curve, args)
    points = _points(curve, args)
    options = _options(args)
    with heartbeat("fitting", args):
        shared = listed(args.share, "--share") if args.share else []
        if args.controls and "bottom" not in shared:
            shared.append("bottom")
        fits = fit_curves(points, args.model, shared=shared, **options)
        results = describe_arms(fits, level=args.level, lc=args.lc)
        shifts = _shifts(points, fits, args, shared, options)
    _write(args, _table(results, shifts), lambda: _draw(fits, shifts, args))
    if args.json:
        print_json(_json(curve, fits, results, shifts))
    elif args.csv != "-":
        for warning in fits.warnings:
            print(one_line(f"Warning: {warning}."), end="\n\n")
        for result in results.values():
            print("\n".join(one_line(sentence) for sentence in result.sentences), end="\n\n")
        for name, reason in fits.not_fitted.items():
            print(one_line(f"{name or 'the curve'} was not fitted: {reason}."))
        for shift in shifts:
            print(one_line(f"{shift.labels[1]} beside {shift.labels[0]}:"))
            print("\n".join(f"  {one_line(sentence)}" for sentence in shift.sentences), end="\n\n")
        for note in fits.notes:
            warn(f"note: {note}", args)
    return 0


def _points(curve: ReportedCurve, args: argparse.Namespace) -> Points:
    points = points_of(curve, controls=args.controls)
    return points.of(listed(args.only, "--only")) if args.only else points


def _options(args: argparse.Namespace) -> dict[str, Any]:
    fixed = {}
    for name, text in assignments(args.fix, "--fix").items():
        try:
            fixed[name] = float(text)
        except ValueError:
            raise InputError(f"--fix needs a number for {name!r}, got {text!r}") from None
    return {"fixed": fixed, "noise": args.noise, "robust": args.robust}


def _shifts(
    points: Points, fits: CurveFits, args: argparse.Namespace, shared: list[str], options: Mapping[str, Any]
) -> list[MeasuredShift]:
    """Every other arm against the control; of two arms without a named control, the second against the first."""
    control = args.control
    if control:
        fits.part(control)
    elif len(points.arms) == 2 and len(fits.arms) == 2:
        control = points.arms[0]
    if not control or args.model == "biphasic" or "all" in shared:
        if args.control and args.model == "biphasic":
            raise InputError("--control compares curves with one EC50; biphasic curves have two")
        return []
    return [
        measured_shift(points, control, arm, form=args.model, shared=shared, level=args.level, **options)
        for arm in fits.arms
        if arm != control
    ]


def _table(results: Mapping[str, ArmResult], shifts: list[MeasuredShift]) -> pd.DataFrame:
    frames = [result.to_frame() for result in results.values()]
    for shift in shifts:
        frame = shift.to_frame()
        frame.insert(0, "arm", " - ".join(reversed(shift.labels)))
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def _write(args: argparse.Namespace, table: pd.DataFrame, draw: Any) -> None:
    if args.csv:
        write_csv(table, args)
    if args.plot:
        from kinetics import plotting

        def write(path: Path) -> None:
            plotting.save(draw(), path)

        write_new(args.plot, write, force=args.force)


def _draw(fits: CurveFits, shifts: list[MeasuredShift], args: argparse.Namespace) -> Any:
    from fits import plotting_curves

    if len(shifts) == 1:
        return plotting_curves.plot_measured_shift(shifts[0])
    if len(fits.arms) > MOST_SHOWN:
        warn(f"the picture shows the first {MOST_SHOWN} of {len(fits.arms)} arms; choose with --only", args)
    return plotting_curves.plot_curves(fits, arms=fits.arms[:MOST_SHOWN], level=args.level)


def _family(curve: ReportedCurve, args: argparse.Namespace) -> int:
    if len(curve.arms) > 1 and args.only == "":
        raise InputError(
            f"a family is one arm at several doses of the inhibitor; name one with --only: {', '.join(curve.arms[:8])}"
        )
    if args.share or args.fix or args.control or args.controls or args.model != "4pl":
        raise InputError("--inhibitor fits mechanisms to all curves at once: --share, --fix, --model, --control and "
                         "--controls do not go with it")  # fmt: skip
    points = _points(curve, args)
    with heartbeat("fitting mechanisms", args):
        found = compare_inhibition(points, noise=args.noise, robust=args.robust, level=args.level)

    def draw() -> Any:
        from fits import plotting_curves

        return plotting_curves.plot_family_with_schild(found, inhibitor=args.inhibitor)

    _write(args, found.to_frame(), draw)
    if args.json:
        print_json(_family_json(curve, found))
    elif args.csv != "-":
        print("\n".join(one_line(sentence) for sentence in found.sentences))
    return 0


# --- JSON -----------------------------------------------------------------------------------------------------


def _estimate(e: Estimate) -> dict[str, Any]:
    return {
        "value": e.value, "lower": e.lower, "upper": e.upper, "unit": e.unit, "extrapolated": e.extrapolated,
        "words": e.words,
    }  # fmt: skip


def _json(
    curve: ReportedCurve, fits: CurveFits, results: Mapping[str, ArmResult], shifts: list[MeasuredShift]
) -> dict[str, Any]:
    return {
        "model": fits.form.name,
        "dose_unit": curve.dose_unit,
        "response_unit": curve.response_unit,
        "arms": {
            name: {
                "status": r.status.name.lower(),
                "status_text": r.status.value,
                "estimates": {key: _estimate(e) for key, e in r.estimates.items()},
                "p_flat": r.flat_p,
                "p_lack_of_fit": None if r.misfit is None else r.misfit.p_value,
                "sigma": r.sigma,
                "nllh": fits.part(name).nllh,
                "n_points": int((fits.part(name).points.arm == fits.part(name).layout.arms.index(name)).sum()),
                "sentences": r.sentences,
            }
            for name, r in results.items()
        },
        "not_fitted": fits.not_fitted,
        "shifts": [
            {
                "control": s.labels[0],
                "treated": s.labels[1],
                "estimates": {e.name: _estimate(e) for e in s.estimates},
                "tests": {
                    name: {"statistic": t.statistic, "degrees": t.degrees, "p_value": t.p_value}
                    for name, t in s.tests.items()
                },
                "verdict": s.verdict,
            }
            for s in shifts
        ],
        "warnings": fits.warnings,
        "notes": fits.notes,
        "versions": versions(),
    }


def _family_json(curve: ReportedCurve, found: Inhibition) -> dict[str, Any]:
    schild = found.schild
    return {
        "dose_unit": curve.dose_unit,
        "inhibitor_unit": curve.inhibitor_unit,
        "verdict": found.verdict,
        "action": None if found.action is None else found.action.name.lower(),
        "supported": found.supported,
        "mechanisms": {
            name: {
                "nllh": fit.nllh,
                "aicc": fit.candidate.aicc,
                "weight": found.selection.weights[name],
                "parameters": dict(zip(fit.family.parameters, fit.theta.tolist(), strict=True)),
            }
            for name, fit in found.fits.items()
        },
        "schild": None
        if schild is None
        else {
            "slope": _estimate(schild.slope),
            "log10_kb": _estimate(schild.log_kb),
            "pa2": None if math.isnan(schild.pa2.value) else _estimate(schild.pa2),
            "p_slope_is_one": schild.slope_is_one.p_value,
            "inhibitor": schild.inhibitor,
            "log10_dose_ratio": schild.log_ratios,
        },
        "warnings": found.warnings,
        "sentences": found.sentences,
        "versions": versions(),
    }
