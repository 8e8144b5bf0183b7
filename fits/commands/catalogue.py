"""``kinetics models``, ``show`` and ``validate``: what there is, what is in it, and whether it can be simulated."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fits.commands.common import aligned, load, one_line, print_json, source_of

if TYPE_CHECKING:
    from kinetics.catalogue import CatalogueEntry
    from kinetics.model import Model


# --- models -------------------------------------------------------------------------------------------------


def models(args: argparse.Namespace) -> int:
    """List the bundled models."""
    from kinetics import catalogue

    entries = catalogue.models()
    if args.json:
        print_json(
            [
                {
                    "name": entry.name,
                    "title": entry.title,
                    "summary": entry.summary,
                    "ligand": entry.ligand,
                    "drug": entry.drug or None,
                    "reference": entry.reference,
                    "variants": list(entry.variants),
                    "mechanisms": list(entry.mechanisms),
                    "protocols": list(entry.protocols),
                    "readouts": list(entry.readouts),
                }
                for entry in entries
            ]
        )
        return 0
    print(aligned([(entry.name, entry.title) for entry in entries], indent=""))
    return 0


# --- show ---------------------------------------------------------------------------------------------------


def show(args: argparse.Namespace) -> int:
    """Show what is in a model."""
    model = load(args)
    rows = _rows(model)
    if args.json:
        print_json(_as_json(model, rows))
        return 0
    entry = model.entry
    print(f"{one_line(model.name)}: {one_line(model.title)}")
    if model.variant_name:
        print(f"variant: {one_line(model.variant_name)}")
    if entry:
        print(f"\n{entry.summary}\n\nreference: {entry.reference}")
    print(f"time in {model.time_unit or 'an unstated unit'}, {len(model.description.of_kind('reaction'))} reactions")
    for kind, title in (("compartment", "compartments"), ("species", "species (initial)"), ("parameter", "parameters")):
        shown = [row for row in rows if row["kind"] == kind]
        print(f"\n{title}: {len(shown)}")
        print(aligned([_cells(row) for row in shown]))
    readouts = {name: (formula, model.unit_of(name)) for name, formula in model.readouts.items()}
    if readouts or entry:
        print(f"\nreadouts: {len(readouts)}")
        print(aligned([(name, unit, _about(entry, name, formula)) for name, (formula, unit) in readouts.items()]))
    if entry:
        _print_entry(entry)
    for text in model.warnings:
        print(f"\nwarning: {one_line(text)}")
    return 0


def _print_entry(entry: CatalogueEntry) -> None:
    for title, option, variants in (
        ("variants", "--variant", entry.variants),
        ("mechanisms", "shift --mechanism", entry.mechanisms),
    ):
        print(f"\n{title} ({option} NAME): {len(variants)}")
        print(aligned([(item.name, item.title + _sourced(item.label, item.source)) for item in variants.values()]))
    print(f"\nprotocols (--protocol NAME): {len(entry.protocols)}")
    print(aligned([(p.name, p.title + _sourced(p.label, p.source)) for p in entry.protocols.values()]))


def _about(entry: CatalogueEntry | None, name: str, formula: str) -> str:
    item = entry.readouts.get(name) if entry else None
    return f"{item.description}: {formula}" if item else formula


def _sourced(label: str, source: str) -> str:
    return f" [{label}; {source}]" if source else ""


def _rows(model: Model) -> list[dict[str, Any]]:
    """Compartments, species and parameters; what the model computes itself carries how instead of a value."""
    frame = model.table()
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    value = row["value"]
    stated = "computed" if value is None or math.isnan(value) else f"{value:.6g}"
    about = "; ".join(part for part in (row["label"], row["source"]) if part)
    name = row["name"] if row["name"] != row["id"] else ""
    return (row["id"], stated, row["unit"], "  ".join(part for part in (name, about and f"[{about}]") if part))


def _as_json(model: Model, rows: list[dict[str, Any]]) -> dict[str, Any]:
    entry = model.entry
    tables: dict[str, list[Any]] = {
        f"{kind}s" if kind != "species" else kind: [] for kind in ("compartment", "species", "parameter")
    }
    for row in rows:
        kind = row.pop("kind")
        tables[f"{kind}s" if kind != "species" else kind].append(row)
    found: dict[str, Any] = {
        "name": model.name,
        "title": model.title,
        "variant": model.variant_name or None,
        "time_unit": model.time_unit,
        "reactions": len(model.description.of_kind("reaction")),
        **tables,
        "readouts": [
            {"name": name, "formula": formula, "unit": model.unit_of(name)} for name, formula in model.readouts.items()
        ],
        "warnings": list(model.warnings),
    }
    if entry:
        found |= {"summary": entry.summary, "reference": entry.reference, "ligand": entry.ligand, "drug": entry.drug}
        for title, variants in (("variants", entry.variants), ("mechanisms", entry.mechanisms)):
            found[title] = [
                {"name": v.name, "title": v.title, "values": v.values, "label": v.label, "source": v.source}
                for v in variants.values()
            ]
        found["protocols"] = [
            {
                "name": p.name,
                "title": p.title,
                "steps": [{"duration": step.duration, "set": step.changes} for step in p.steps],
                "target": p.ligand,
                "readout": p.readout,
                "read_at": p.read_at,
                "doses": {"lowest": p.doses.lowest, "highest": p.doses.highest, "number": p.doses.number},
                "label": p.label,
                "source": p.source,
            }
            for p in entry.protocols.values()
        ]
    return found


# --- validate -----------------------------------------------------------------------------------------------

CHECKS = (
    "it can be read: size, encoding, well-formed XML without entities or references to other files",
    "it is SBML of Level 1 to 3, or Antimony that translates to it; submodels are put together",
    "libSBML's consistency checks: identifiers, formulas, rules that determine something twice",
    "no circular assignments or functions, nothing the engine computes wrongly or not at all",
    "units (their disagreement is a warning)",
    "the engine builds it and starts it, in a process of its own",
)


def validate(args: argparse.Namespace) -> int:
    """Check a model; what is wrong with it is an error and ends with status 2."""
    from kinetics.errors import ModelError
    from kinetics.model import Model

    source = source_of(args.file)
    try:
        model = Model.load(source)
    except ModelError as error:
        if args.json:
            print_json({"file": _shown(args.file), "valid": False, "kind": type(error).__name__, "error": str(error)})
        raise
    missing = sorted(model._checked.missing) if hasattr(model, "_checked") else []
    units = not any(text.startswith("units ") for text in model.warnings)
    if args.json:
        print_json(
            {
                "file": _shown(args.file),
                "valid": True,
                "name": model.name,
                "time_unit": model.time_unit,
                "units_agree": units,
                "without_value": missing,
                "warnings": list(model.warnings),
                "checked": list(CHECKS),
                "counts": _counts(model),
            }
        )
        return 0
    print(f"valid: {one_line(model.name)} ({', '.join(f'{n} {what}' for what, n in _counts(model).items())})")
    print("\nchecked:")
    for text in CHECKS:
        print(f"  {text}")
    print(f"\nwarnings: {len(model.warnings)}")
    for text in model.warnings:
        print(f"  {one_line(text)}")
    return 0


def _shown(file: str) -> str:
    """A name without its folder; results carry no paths of this machine."""
    return "standard input" if file == "-" else file.replace("\\", "/").rsplit("/", 1)[-1]


def _counts(model: Model) -> dict[str, int]:
    kinds = {"species": "species", "parameters": "parameter", "compartments": "compartment", "reactions": "reaction"}
    counts = {title: len(model.description.of_kind(kind)) for title, kind in kinds.items()}  # type: ignore[arg-type]  # one of its kinds
    return {**counts, "events": len(model.description.events)}
