"""``kinetics dose-response`` and ``shift``: curves, their description, and how one differs from another."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fits.commands.common import (
    assignments,
    check_json,
    check_outputs,
    listed,
    load,
    one_line,
    parameters,
    print_json,
    say_check,
    solver,
    steps,
    tsv,
    versions,
    warn,
    with_unit,
    workers,
    write_archive,
    write_new,
    write_tables,
)
from kinetics.accuracy import curve_convergence
from kinetics.catalogue import DoseRange, ProtocolEntry, Step
from kinetics.curves import CurveDescription, EC50Status
from kinetics.dosing import DoseProtocol, DoseResponseCurve, dose_response
from kinetics.errors import InputError, UnknownName
from kinetics.experiment import Experiment
from kinetics.model import Model
from kinetics.observable import Readout
from kinetics.shift import Shift, compare
from kinetics.units import Quantity, doses, quantity

MOST_DOSES = 10_000
PER_DECADE = 4
Steps = Sequence[tuple[str, Mapping[str, float | str]]]


# --- what is asked ------------------------------------------------------------------------------------------


def catalogue_protocol(model: Model, name: str | None) -> ProtocolEntry | None:
    """A protocol of the catalogue by name; without a name the model's default protocol, ``None`` where it has none."""
    if name is None:
        return model.entry.protocols[model.entry.protocol] if model.entry and model.entry.protocol else None
    if model.entry is None:
        raise InputError(f"model {model.name!r} is not of the catalogue, so it has no protocol {name!r}")
    if name not in model.entry.protocols:
        raise UnknownName("protocol", name, model.entry.protocols, f"model {model.name!r}")
    return model.entry.protocols[name]


def protocol_of(
    model: Model, args: argparse.Namespace, chosen: ProtocolEntry | None, lead: Steps, changes: Mapping[str, str]
) -> DoseProtocol:
    """The protocol of one arm: options first, then the chosen protocol, then the model's defaults."""
    entry = model.entry
    defaults = chosen or entry
    target = args.target or (defaults.ligand if defaults else "")
    if not target:
        raise InputError("which substance is dosed? pass --target, as in --target IL7")
    model.entity(target)
    observed = args.observe or (defaults.readout if defaults else "")
    at = args.at or (defaults.read_at if defaults else "")
    if not observed or not at:
        raise InputError("what is read, and when? pass --observe and --at, as in --observe pSTAT5 --at '30 min'")
    together = {**(chosen.during if chosen else {}), **changes}
    schedule = Experiment.steps(*lead, (math.inf, together), equilibrate=args.equilibrate)
    own = defaults.doses if defaults and target == defaults.ligand else None
    return DoseProtocol(target, doses_of(args, own), Readout.at(observed, at), schedule)


def doses_of(args: argparse.Namespace, default: DoseRange | None) -> tuple[Quantity, ...]:
    """The doses asked for, else those of the catalogue."""
    ranged = args.lowest is not None or args.highest is not None
    if args.doses is not None:
        if ranged or args.per_decade is not None:
            raise InputError("--doses excludes --from, --to and --per-decade")
        return _with_zero(listed_doses(args.doses), args.zero)
    if not ranged and args.per_decade is None and default is not None:
        return _with_zero(_range(default.lowest, default.highest, default.number), args.zero)
    lowest = args.lowest or (default.lowest if default else None)
    highest = args.highest or (default.highest if default else None)
    if lowest is None or highest is None:
        raise InputError("which doses? pass --from and --to, as in --from '0.1 pg/ml' --to '100 ng/ml', or --doses")
    per_decade = PER_DECADE if args.per_decade is None else args.per_decade
    if not 1 <= per_decade <= 1000:
        raise InputError(f"--per-decade must be between 1 and 1000, got {per_decade}")
    if quantity(lowest, "--from").unit or quantity(highest, "--to").unit:
        return doses(lowest, highest, per_decade=per_decade, zero=args.zero)
    return _with_zero(_range(lowest, highest, None, per_decade), args.zero)


def _range(lowest: str, highest: str, number: int | None, per_decade: int = PER_DECADE) -> tuple[Quantity, ...]:
    """Evenly spaced on a logarithmic axis, both ends exact; the unit may be none (a dimensionless input)."""
    low, high = quantity(lowest, "--from"), quantity(highest, "--to")
    if low.unit != high.unit or not 0.0 < low.value < high.value < math.inf:
        raise InputError(f"doses need 0 < lowest < highest in one unit, got {lowest!r} and {highest!r}")
    count = number or max(2, round(math.log10(high.value / low.value) * per_decade) + 1)
    grid = np.geomspace(low.value, high.value, count)
    grid[0], grid[-1] = low.value, high.value
    return tuple(Quantity(float(value), low.unit) for value in grid)


def listed_doses(text: str, option: str = "--doses") -> tuple[Quantity, ...]:
    """``"0,0.1,1 ng/ml"`` as doses."""
    parts = listed(text, option)
    if len(parts) > MOST_DOSES:
        raise InputError(f"{option} takes at most {MOST_DOSES} doses, got {len(parts)}")
    read = [quantity(part, option) for part in parts]
    unit = read[-1].unit  # "0,0.1,1 ng/ml": the last unit is that of the bare numbers before it
    return tuple(Quantity(dose.value, dose.unit or unit) for dose in read)


def _with_zero(given: tuple[Quantity, ...], zero: bool) -> tuple[Quantity, ...]:
    return (Quantity(0.0, given[0].unit), *given) if zero and given[0].value > 0.0 else given


def _as_steps(entries: Sequence[Step]) -> list[tuple[str, Mapping[str, float | str]]]:
    return [(step.duration, step.changes) for step in entries]


# --- dose-response ------------------------------------------------------------------------------------------


def dose_response_command(args: argparse.Namespace) -> int:
    """Simulate a dose-response curve and describe it."""
    check_outputs(args)
    model = load(args)
    chosen = catalogue_protocol(model, args.protocol)
    lead: Steps = steps(args.steps, "--step") or (_as_steps(chosen.steps) if chosen else [])
    protocol = protocol_of(model, args, chosen, lead, assignments(args.sets, "--set"))
    values, settings = parameters(model, args.param, "--param"), solver(args)
    with workers(args) as executor:
        curve = dose_response(
            model, protocol, label=model.variant_name, solver=settings, parameters=values, executor=executor
        )
        check = None
        if args.check:
            check = curve_convergence(model, protocol, solver=settings, parameters=values)
    if args.percent_of_maximum:
        curve = curve.percent_of_maximum()
    say_check(check, args)
    _write([curve], None, args)
    if args.omex:
        from kinetics.sedml import dose_archive

        write_archive(dose_archive(model, protocol, solver=settings, parameters=values), args)
        if args.percent_of_maximum:
            warn(f"{args.omex}: holds the responses themselves, not per cent of the maximum", args)
    if args.json:
        print_json(
            {
                "model": model.name,
                "variant": model.variant_name or None,
                "protocol": args.protocol,
                "parameters": values,
                "read_at": str(protocol.readout.time) if protocol.readout.time else "steady state",
                **_curve_json(curve),
                **check_json(check),
                "solver": {"rtol": settings.rtol, "atol": settings.atol},
                "versions": versions(),
            }
        )
    elif args.csv != "-":
        print(_curve_tsv([curve]))
        warn(_said(curve), args)
    return 0


def _described(curve: DoseResponseCurve) -> CurveDescription | None:
    try:
        return curve.describe()
    except InputError:  # fewer than four doses: a table without a description is still a result
        return None


def _said(curve: DoseResponseCurve) -> str:
    described = _described(curve)
    if described is None:
        return "too few doses to describe the curve (four are needed, three of them above 0)"
    unit = f" {curve.dose_unit}" if curve.dose_unit else ""
    ec50 = {
        EC50Status.INSIDE: f"EC50 {described.ec50:.4g}{unit}",
        EC50Status.BELOW: f"EC50 below {described.lowest:.4g}{unit}",
        EC50Status.ABOVE: f"EC50 above {described.highest:.4g}{unit}",
        EC50Status.FLAT: "flat, no EC50",
    }[described.status]
    shape = "" if math.isnan(described.hill) else f", Hill slope {described.hill:.3g}"
    plateau = "" if described.plateau_reached else "; the highest dose does not reach the plateau"
    span = f"from {described.bottom:.4g} to {described.top:.4g} {curve.response_unit}".rstrip()
    return f"{ec50}, {span}{shape}{plateau}"


def _curve_json(curve: DoseResponseCurve) -> dict[str, Any]:
    described = _described(curve)
    return {
        "arm": curve.label,
        "target": curve.target,
        "readout": curve.readout,
        "dose_unit": curve.dose_unit,
        "response_unit": curve.response_unit,
        "doses": curve.doses,
        "responses": curve.responses,
        "description": None
        if described is None
        else {
            "ec50": described.ec50,
            "bottom": described.bottom,
            "top": described.top,
            "span": described.span,
            "hill": described.hill,
            "status": described.status.name.lower(),
            "status_text": described.status.value,
            "plateau_reached": described.plateau_reached,
            "rms": described.rms,
        },
    }


def _curve_tsv(curves: Sequence[DoseResponseCurve]) -> str:
    first = curves[0]
    heads = [with_unit(curve.label if len(curves) > 1 else curve.readout, curve.response_unit) for curve in curves]
    rows = (
        [float(dose), *(float(curve.responses[index]) for curve in curves)] for index, dose in enumerate(first.doses)
    )
    return tsv([with_unit(first.target, first.dose_unit), *heads], rows)


def _write(curves: Sequence[DoseResponseCurve], shift: Shift | None, args: argparse.Namespace) -> None:
    write_tables(pd.concat([curve.to_frame() for curve in curves], ignore_index=True), args)
    if not args.plot:
        return
    from kinetics import plotting

    ax = plotting.new_axes()
    if shift is None:
        plotting.plot_dose_response(curves, ax)
    else:
        plotting.plot_shift(curves[0], curves[1], ax, shift=shift)

    def write(path: Path) -> None:
        plotting.save(ax, path)

    write_new(args.plot, write, force=args.force)


# --- shift --------------------------------------------------------------------------------------------------


def shift_command(args: argparse.Namespace) -> int:
    """Compare a control curve with a treated one."""
    check_outputs(args)
    model = load(args)
    chosen, before, after, labels = _arms(model, args)
    common = assignments(args.sets, "--set")
    extra = {**common, **assignments(args.treated_set, "--treated-set")}
    values = parameters(model, args.param, "--param")
    other = {**values, **_mechanism(model, args), **parameters(model, args.treated_param, "--treated-param")}
    settings = solver(args)
    with workers(args) as executor:
        control = dose_response(
            model, protocol_of(model, args, chosen, before, common),
            label=labels[0], solver=settings, parameters=values, executor=executor,
        )  # fmt: skip
        treated = dose_response(
            model, protocol_of(model, args, chosen, after, extra),
            label=labels[1], solver=settings, parameters=other, executor=executor,
        )  # fmt: skip
    if np.array_equal(control.responses, treated.responses):
        hint = "; a mechanism of the drug needs the drug: add --with-drug" if args.mechanism else ""
        warn(f"warning: the two arms are the same to the last bit{hint}", args)
    if args.percent_of_maximum:
        control, treated = control.percent_of_maximum(), treated.percent_of_maximum(control)
    shift = compare(control, treated)
    _write([control, treated], shift, args)
    if args.json:
        print_json(
            {
                "model": model.name,
                "variant": model.variant_name or None,
                "protocol": chosen.name if chosen else None,
                "mechanism": args.mechanism,
                "control": _curve_json(control),
                "treated": _curve_json(treated),
                "shift": {
                    "delta_log10_ec50": shift.delta_log10_ec50,
                    "dose_ratio": shift.dose_ratio,
                    "equieffective_ratio": shift.equieffective_ratio,
                    "emax_ratio": shift.emax_ratio,
                    "delta_hill": shift.delta_hill,
                },
                "sentences": shift.sentences,
                "solver": {"rtol": settings.rtol, "atol": settings.atol},
                "versions": versions(),
            }
        )
    elif args.csv != "-":
        for curve in (control, treated):
            print(f"{one_line(curve.label)}: {_said(curve)}")
        print()
        print(f"{one_line(str(shift))}\n")
        print(tsv(("quantity", "value", "unit"), shift.to_frame().itertuples(index=False)))
    return 0


def _arms(model: Model, args: argparse.Namespace) -> tuple[ProtocolEntry | None, Steps, Steps, tuple[str, str]]:
    """The protocol of the catalogue if any, the steps of the control and the treated arm, and their names."""
    if args.with_drug and not args.mechanism:
        raise InputError("--with-drug goes with --mechanism; the drug is given without it")
    given: Steps = steps(args.treated, "--treated")
    own: Steps = steps(args.steps, "--control")
    label = args.mechanism or ""
    if given:
        changed = [f"{name} {value}" for _, changes in given for name, value in changes.items() if not _is_zero(value)]
        label = ", ".join([*([label] if label else []), *dict.fromkeys(changed)]) or "treated"
        bare: Steps = [(duration, {}) for duration, _ in given]
        return catalogue_protocol(model, args.protocol), own or bare, given, ("control", label)
    different = args.treated_set or args.treated_param
    if different and args.protocol is None:
        label = label or ", ".join(one_line(text) for text in (*args.treated_set, *args.treated_param))
        chosen = catalogue_protocol(model, None)
        lead = own or (_as_steps(chosen.steps) if chosen else [])
        return chosen, lead, lead, ("control", label)
    chosen = catalogue_protocol(model, args.protocol) or _with_drug_of(model)
    if chosen is None or model.entry is None:
        raise InputError(
            "what is the treatment? pass --treated, as in --treated '24 h:Imatinib=3 uM', "
            "--treated-set or --treated-param"
        )
    drug = model.entry.drug
    before = own or _as_steps(chosen.without(drug))
    after = _as_steps(chosen.steps) if args.mechanism is None or args.with_drug else before
    doses_given = [f"{drug} {step.changes[drug]}" for step in chosen.steps if not _is_zero(step.changes.get(drug, 0))]
    if args.mechanism is None or args.with_drug:
        label = ", ".join([*([label] if label else []), *dict.fromkeys(doses_given)]) or "treated"
    return chosen, before, after, ("control", label)


def _is_zero(value: object) -> bool:
    try:
        return quantity(value).value == 0.0  # type: ignore[arg-type]  # a formula is refused there
    except InputError:  # a formula
        return False


def _with_drug_of(model: Model) -> ProtocolEntry | None:
    """The first protocol of the catalogue that gives the drug."""
    if model.entry is None or not model.entry.drug:
        return None
    drug = model.entry.drug
    return next(
        (p for p in model.entry.protocols.values() if any(not _is_zero(s.changes.get(drug, 0)) for s in p.steps)), None
    )


def _mechanism(model: Model, args: argparse.Namespace) -> Mapping[str, float]:
    if not args.mechanism:
        return {}
    known = model.entry.mechanisms if model.entry else {}
    if args.mechanism not in known:
        raise UnknownName("mechanism", args.mechanism, known, f"model {model.name!r}")
    return known[args.mechanism].values
