"""``kinetics report`` and ``kinetics export``: what comes out of a fit."""

from __future__ import annotations

import argparse
from pathlib import Path

from fits.commands.common import heartbeat, one_line, print_json, versions, warn, write_new
from fits.stored import StoredFit, open_fit
from kinetics.errors import InputError


def report_command(args: argparse.Namespace) -> int:
    """Write the page about a fit."""
    from fits.fit_page import check_target, write_page
    from fits.fit_report import make_report

    check_target(args.output, force=args.force)
    fit = open_fit(args.fit, args.problem)
    with heartbeat("making the page", args):
        report = make_report(fit, gradient=not args.no_gradient)
        write_page(report, args.output, force=args.force)
    if args.json:
        print_json({"page": args.output, "sentences": report.sentences, "versions": versions()})
    else:
        for sentence in report.sentences:
            print(one_line(sentence))
        warn(f"the page is {args.output}", args)
    return 0


def export_command(args: argparse.Namespace) -> int:
    """Write the calibrated model or problem."""
    wanted = {"sbml": args.sbml, "antimony": args.antimony, "petab": args.petab}
    if not any(wanted.values()):
        raise InputError("nothing to write: pass --sbml FILE, --antimony FILE or --petab DIR")
    if args.sbml and args.antimony and Path(args.sbml).resolve() == Path(args.antimony).resolve():
        raise InputError(f"--sbml and --antimony both name {args.sbml!r}")
    for path in (args.sbml, args.antimony):
        if path and Path(path).exists() and not args.force:
            raise InputError(f"{path!r} exists and is left as it is; pass --force to overwrite it")
    fit = open_fit(args.fit, args.problem)
    values = fit.values
    notes: list[str] = []
    if args.sbml or args.antimony:
        from fits.export import calibrated_model

        made = calibrated_model(fit.problem, values, args.model)
        notes += made.notes
        if args.sbml:
            write_new(args.sbml, lambda path: _write(path, made.sbml), force=args.force)
        if args.antimony:
            text = made.antimony
            write_new(args.antimony, lambda path: _write(path, text), force=args.force)
    if args.petab:
        notes += _petab(fit, values, args)
    written = {name: path for name, path in wanted.items() if path}
    if args.json:
        print_json({"written": written, "parameters": values, "notes": notes, "versions": versions()})
    else:
        for note in notes:
            print(one_line(note))
        for path in written.values():
            warn(f"wrote {path}", args)
    return 0


def _petab(fit: StoredFit, values: dict[str, float], args: argparse.Namespace) -> list[str]:
    from dataclasses import replace

    from fits.parameters import ParameterSet
    from fits.petab import write_petab

    fitted = ParameterSet(replace(p, nominal=values[p.id]) for p in fit.problem.parameters.parameters)
    losses = write_petab(fit.problem.with_parameters(fitted), args.petab, args.version, overwrite=args.force)
    return [f"PEtab {args.version} cannot say: {loss}" for loss in losses] or [
        f"PEtab {args.version} says everything; the fitted values are its nominal values."
    ]


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
