"""A calibration over samples: what is shared, which one quantity differs between samples, how wells scatter.

Frozen data and its reader; the file is a problem file (docs/problem-files.md) with the section ``random_effects``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fits.parameters import Parameter, ParameterSet, Scale
from fits.petab.files import Folder, read_yaml
from fits.population.tables import Well, carried, read_wells, samples_of
from fits.problem_file import RANDOM, problem_path, read_model, read_parameter, top_of
from fits.problem_nodes import Node, as_number
from kinetics.errors import InputError, UnknownName
from kinetics.model import Model
from kinetics.units import convert

MEDIAN, SPREAD = "effect_median", "effect_sd"
NOISE: Mapping[str, str] = MappingProxyType({
    "sd_well": "standard deviation of a well, the part that does not depend on the viability",
    "cv_well": "standard deviation of a well, relative to the expected viability",
    "sd_dose": "what the wells of a curve at one dose have in common: how curves differ in shape from the model's",
    "cv_plate": "what all wells of a curve have in common, relative: the error of its vehicle wells",
})  # fmt: skip


@dataclass(frozen=True)
class RandomEffect:
    """A factor on one quantity of the model, log-normal between samples, cut off at ``lower`` and ``upper``.

    ``lower`` and ``upper`` are factors.  The standard deviation (``effect_sd``) is that of the natural logarithm; the
    median factor (``effect_median``) is 1 unless it is estimated.
    """

    quantity: str
    lower: float
    upper: float

    def __post_init__(self) -> None:
        if not 0.0 < self.lower < 1.0 < self.upper < math.inf:
            raise InputError(
                f"the random effect on {self.quantity!r} needs a range with 0 < lower < 1 < upper, got {self.lower:g}, "
                f"{self.upper:g}"
            )


@dataclass(frozen=True)
class PopulationProblem:
    """Wells of samples, a model, and what is to be estimated.

    Attributes:
        structural: parameters of the model that all samples share.
        statistical: `MEDIAN` and `SPREAD` of the random effect and the noise, by the names of `NOISE`; a part of the
            noise that is not there is 0.
        species: what is dosed, by the name of the drug in the table.
        hours: when the wells are read, after the drug was added.
    """

    id: str
    model: Model
    effect: RandomEffect
    structural: tuple[Parameter, ...]
    statistical: tuple[Parameter, ...]
    species: Mapping[str, str]
    wells: tuple[Well, ...]
    hours: float
    title: str = ""
    source: str = ""
    notes: tuple[str, ...] = ()
    cases: Mapping[str, str] = field(default_factory=dict)
    case: str = ""

    def __post_init__(self) -> None:
        if not self.wells:
            raise InputError(f"problem {self.id!r}: there are no wells to fit")
        for well in self.wells:
            if well.drug not in self.species:
                raise UnknownName("drug", well.drug, self.species, f"problem {self.id!r}")
        given = {parameter.id for parameter in self.statistical}
        for name in given - {MEDIAN, SPREAD, *NOISE}:
            raise UnknownName("parameter", name, (MEDIAN, SPREAD, *NOISE), f"problem {self.id!r}")
        if SPREAD not in given or not given & {"sd_well", "cv_well"}:
            raise InputError(
                f"problem {self.id!r}: expected {SPREAD} and a scatter of wells (sd_well, cv_well), got "
                f"{', '.join(sorted(given)) or 'nothing'}"
            )
        for parameter in self.structural:
            if parameter.id == self.effect.quantity:
                raise InputError(
                    f"problem {self.id!r}: {parameter.id!r} has the random effect; estimate its median, not itself"
                )
        for parameter in (*self.structural, *self.statistical):
            if parameter.prior is not None:
                raise InputError(f"problem {self.id!r}: {parameter.id!r} has a prior, which samples have no place for")

    @property
    def parameters(self) -> ParameterSet:
        """All estimated parameters, structural ones first."""
        return ParameterSet((*self.structural, *self.statistical))

    @property
    def samples(self) -> tuple[str, ...]:
        return samples_of(self.wells)

    def of(self, samples: tuple[str, ...]) -> PopulationProblem:
        """The same problem with the wells of these samples alone.

        Raises:
            UnknownName: a sample that is not there.
        """
        for sample in samples:
            if sample not in self.samples:
                raise UnknownName("sample", sample, self.samples, f"problem {self.id!r}")
        return replace(self, wells=tuple(well for well in self.wells if well.sample in samples))


def has_random_effects(path: str | Path) -> bool:
    """Whether a problem file is one over samples; errors as `fits.problem_file.problem_path`."""
    return RANDOM in read_yaml(problem_path(path))


def read_population(path: str | Path, *, case: str = "", trusted: bool = False) -> PopulationProblem:
    """A problem over samples from its file, folder, or name.

    Raises:
        ModelNotFound: a file is missing.
        KineticsError: it has no meaning; the message names file, key, what was expected and what was got.
    """
    file = problem_path(path)
    content = read_yaml(file)
    if RANDOM not in content:
        raise InputError(f"{file.name}: expected a problem over samples, with the key {RANDOM!r}")
    top, cases = top_of(content, file, case)
    top.known("format", "id", "title", "source", "notes", "model", "variant", "values", "drugs", "data", "parameters",
              RANDOM, "noise", "cases")  # fmt: skip
    folder = Folder(file.parent, file.name)
    model = read_model(top, folder, trusted)
    drugs = top.node("drugs")
    species = {drug: _species(drugs, drug, model) for drug in drugs.content}
    estimated = top.node("parameters")
    effect, of_effect = _effect(top.node(RANDOM), model)
    wells, hours, notes = _data(top, folder, tuple(species))
    noise = top.node("noise")
    noise.known(*NOISE)
    return PopulationProblem(
        top.text("id", what="a name for the problem"),
        model,
        effect,
        tuple(read_parameter(estimated.node(key), key, model) for key in estimated.content),
        (*of_effect, *(_plain(noise.node(name), name, NOISE[name]) for name in NOISE if name in noise.content)),
        species,
        wells,
        hours,
        top.text("title", ""),
        " ".join(top.texts("source")),
        (*top.texts("notes"), *notes),
        {key: node.text("title", key) for key, node in cases.items()},
        case,
    )


def _species(drugs: Node, drug: str, model: Model) -> str:
    name = drugs.text(drug, what="the species that is dosed")
    settable = [item.id for item in model.description.entities.values() if item.settable]
    if name not in settable:
        raise UnknownName("species", name, settable, f"model {model.name!r} ({drugs.where(drug)})")
    return name


def _effect(node: Node, model: Model) -> tuple[RandomEffect, tuple[Parameter, ...]]:
    node.known("sample")
    inner = node.node("sample")
    inner.known("parameter", "range", "median", "sd", "why")
    quantity_name = inner.text("parameter", what="the parameter of the model that differs between samples")
    if quantity_name not in model.description.entities or not model.entity(quantity_name).settable:
        settable = [item.id for item in model.description.entities.values() if item.settable]
        raise UnknownName("parameter", quantity_name, settable, f"model {model.name!r} ({inner.where('on')})")
    effect = RandomEffect(quantity_name, *_two(inner, "range"))
    found = [_plain(inner.node("sd"), SPREAD, f"standard deviation of ln {quantity_name} between samples")]
    if "median" in inner.content:
        found.insert(0, _plain(inner.node("median"), MEDIAN, f"median factor on {quantity_name}"))
    return effect, tuple(found)


def _plain(node: Node, name: str, meaning: str) -> Parameter:
    """A positive parameter that is not the model's, searched as its logarithm."""
    node.known("bounds", "why")
    return Parameter(name, *_two(node, "bounds"), Scale.LOG10, unit="dimensionless", name=meaning)


def _two(node: Node, key: str) -> tuple[float, float]:
    given: Any = node.content.get(key)
    ends = [as_number(end) for end in given] if isinstance(given, list) and len(given) == 2 else []
    if len(ends) != 2 or ends[0] is None or ends[1] is None or not 0.0 < ends[0] < ends[1]:
        raise node.fault(key, "two increasing numbers above 0 such as [0.02, 0.8]", given)
    return ends[0], ends[1]


def _data(top: Node, folder: Folder, drugs: tuple[str, ...]) -> tuple[tuple[Well, ...], float, tuple[str, ...]]:
    node = top.node("data")
    node.known("file", "carried", "at")
    if ("file" in node.content) == ("carried" in node.content):
        raise node.fault("file", "a table beside this file, or 'carried' with one of the package", node.content)
    if "file" in node.content:
        table = folder.file(node.content["file"], f"{node.path}.file")
    else:
        table = carried(node.text("carried"))
    hours = convert(node.text("at", what="a time such as '72 h'"), "h", what=node.where("at"))
    if not 0.0 < hours < math.inf:
        raise node.fault("at", "a time above 0", node.content["at"])
    reading = read_wells(table, drugs)
    return reading.wells, hours, reading.notes
