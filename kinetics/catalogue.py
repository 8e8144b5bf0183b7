"""The bundled models and ligands: list them, find one, say where its numbers come from.

Reads ``catalogue.toml``, ``ligands.toml`` and the models' own files from the package `sbml`, wherever
that is installed.  Imports nothing heavy: listing the models takes milliseconds.

>>> find_model("il7_stat5_imatinib").ligand
'IL7'
>>> find_ligand("il7").molar_mass
17400.0
"""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from types import MappingProxyType
from typing import Any, TypeVar

from kinetics.errors import InvalidModel, ModelNotFound, UnknownName

_K = TypeVar("_K")
_V = TypeVar("_V")

# How far a number can be trusted, best first.  'defined' is true by definition, 'calibrated' came out
# of a fit that the model card describes.
LABELS = ("defined", "paper", "looked up", "calibrated", "recalled", "feasibility", "assumed")


@dataclass(frozen=True)
class DoseRange:
    """Doses that make sense by default; quantities as text, for example ``"0.001 ng/ml"``."""

    lowest: str
    highest: str
    number: int  # of doses, evenly spaced on a logarithmic axis


@dataclass(frozen=True)
class ReadoutEntry:
    """What can be read from a model, by name."""

    name: str
    formula: str  # over the symbols of the model
    unit: str
    description: str


@dataclass(frozen=True)
class Variant:
    """Named values of parameters, in the model's units: a cell subset, a mechanism, a parameter set."""

    name: str
    title: str
    values: Mapping[str, float]
    label: str = ""
    source: str = ""
    note: str = ""


@dataclass(frozen=True)
class Step:
    """Part of a protocol: ``changes`` are set at its start and hold for ``duration``."""

    duration: str  # with a unit, for example "24 h"
    changes: Mapping[str, float | str]  # numbers in the model's units, or quantities as text


@dataclass(frozen=True)
class ProtocolEntry:
    """An experiment as published: steps, then a dose of the ligand, then one reading."""

    name: str
    title: str
    steps: tuple[Step, ...]
    ligand: str
    read_at: str  # after the ligand was added, with a unit
    readout: str
    doses: DoseRange
    label: str
    source: str
    during: Mapping[str, float | str] = field(default_factory=dict)  # set together with the ligand

    def without(self, drug: str) -> tuple[Step, ...]:
        """The steps of the control arm: the same, with the drug at 0."""
        return tuple(
            Step(step.duration, _frozen({k: 0.0 if k == drug else v for k, v in step.changes.items()}))
            for step in self.steps
        )


@dataclass(frozen=True)
class CatalogueEntry:
    """A bundled model: what it is called and what comes with it; `sbml` gives the model itself."""

    name: str
    title: str
    summary: str
    time_unit: str
    concentration_unit: str
    ligand: str  # the species or parameter that is dosed by default
    drug: str  # the species of the drug it is about, "" for none
    readout: str
    read_at: str
    doses: DoseRange
    reference: str  # of the publication the model is about
    ligands: Mapping[str, str]  # species -> name of its ligand, see `find_ligand`
    readouts: Mapping[str, ReadoutEntry]
    variants: Mapping[str, Variant]
    mechanisms: Mapping[str, Variant]
    protocols: Mapping[str, ProtocolEntry]
    protocol: str = ""  # the one that is followed when none is named; "" for none: the ligand at time 0

    def sbml(self) -> str:
        """The SBML document (Level 3 Version 2)."""
        return _read(f"{self.name}.xml")

    def antimony(self) -> str:
        """The Antimony text that the SBML is the translation of."""
        return _read(f"{self.name}.ant")


@dataclass(frozen=True)
class Ligand:
    """A substance that is dosed, and what a mass of it is worth."""

    name: str
    molar_mass: float  # g/mol
    label: str
    source: str
    aliases: tuple[str, ...] = ()
    formula: str = ""  # of a small molecule
    note: str = ""


@dataclass(frozen=True)
class ParameterSource:
    """Where the value of a parameter or compartment comes from."""

    unit: str
    label: str  # one of LABELS
    source: str
    note: str = field(default="")  # what the parameter means, and what to know about the value


def models() -> tuple[CatalogueEntry, ...]:
    """All bundled models, in the order of the catalogue."""
    return tuple(_catalogue().values())


def find_model(name: str) -> CatalogueEntry:
    """The bundled model of that name.

    Raises:
        UnknownName: there is none; the message names the nearest.
    """
    try:
        return _catalogue()[name]
    except KeyError:
        raise UnknownName("model", name, _catalogue(), "the catalogue") from None


def ligands() -> tuple[Ligand, ...]:
    """All substances whose molar mass is known here."""
    return _ligands()


def find_ligand(name: str) -> Ligand:
    """A ligand by its name or an alias; upper and lower case do not matter.

    Raises:
        UnknownName: there is none; the message names the nearest.
    """
    wanted = name.strip().casefold()
    for ligand in _ligands():
        if wanted in (ligand.name.casefold(), *(alias.casefold() for alias in ligand.aliases)):
            return ligand
    known = [each for ligand in _ligands() for each in (ligand.name, *ligand.aliases)]
    raise UnknownName("ligand", name, known, "the table of ligands")


@functools.cache
def parameter_sources(name: str) -> Mapping[str, ParameterSource]:
    """The source of every parameter and compartment of a bundled model.

    Read from the notes in its Antimony text (``k notes "unit; label; source; meaning"``), which the
    translation carries into the SBML, so that other programs show them too.

    Raises:
        UnknownName: no such model.
        InvalidModel: a note is not of that form or its label is not one of `LABELS`.
    """
    found = {}
    for symbol, note in _NOTE.findall(find_model(name).antimony()):
        if symbol == "model":
            continue
        parts = note.split("; ", 3)
        if len(parts) < 3 or parts[1] not in LABELS:
            raise InvalidModel(
                f"note of {symbol!r} in {name}.ant: expected 'unit; label; source; meaning' with a label of "
                f"{', '.join(LABELS)}, got {note!r}"
            )
        found[symbol] = ParameterSource(*parts)
    return _frozen(found)


_NOTE = re.compile(r'^\s*(\w+) notes "([^"]*)"', re.MULTILINE)


# ---- reading the tables ----------------------------------------------------------------------------


def _read(file: str) -> str:
    try:
        return resources.files("sbml").joinpath(file).read_text(encoding="utf-8")
    except (FileNotFoundError, ModuleNotFoundError) as error:
        raise ModelNotFound(f"the bundled file 'sbml/{file}' is missing from this installation") from error


@functools.cache
def _catalogue() -> Mapping[str, CatalogueEntry]:
    return _frozen({name: _entry(name, row) for name, row in tomllib.loads(_read("catalogue.toml")).items()})


def _entry(name: str, row: Mapping[str, Any]) -> CatalogueEntry:
    tables = {"ligands", "readouts", "variants", "mechanisms", "protocols"}
    return CatalogueEntry(
        name=name,
        **{key: value for key, value in row.items() if key not in tables | {"doses"}},
        doses=DoseRange(**row["doses"]),
        ligands=_frozen(row["ligands"]),
        readouts=_frozen({key: ReadoutEntry(key, **item) for key, item in row["readouts"].items()}),
        variants=_variants(row["variants"]),
        mechanisms=_variants(row.get("mechanisms", {})),
        protocols=_frozen({key: _protocol(key, item) for key, item in row["protocols"].items()}),
    )


def _variants(rows: Mapping[str, Any]) -> Mapping[str, Variant]:
    return _frozen(
        {
            name: Variant(
                name, **{**row, "values": _frozen({key: float(value) for key, value in row["values"].items()})}
            )
            for name, row in rows.items()
        }
    )


def _protocol(name: str, row: Mapping[str, Any]) -> ProtocolEntry:
    steps = tuple(Step(step["duration"], _frozen(step["set"])) for step in row["steps"])
    during = _frozen(row.get("during", {}))
    return ProtocolEntry(name, **{**row, "steps": steps, "doses": DoseRange(**row["doses"]), "during": during})


@functools.cache
def _ligands() -> tuple[Ligand, ...]:
    rows = tomllib.loads(_read("ligands.toml"))
    return tuple(
        Ligand(
            name,
            **{**row, "molar_mass": float(row["molar_mass"]), "aliases": tuple(row["aliases"])},
        )
        for name, row in rows.items()
    )


def _frozen(items: Mapping[_K, _V]) -> Mapping[_K, _V]:
    return MappingProxyType(dict(items))
