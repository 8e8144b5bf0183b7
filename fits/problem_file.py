"""Problem files: a dose-response calibration as YAML beside its tables, or a PEtab problem.

``read_problem(path)`` reads either; ``read_description(path)`` reads the first kind and keeps what a `Problem` has no
place for: title, source, named protocols, and the cases in which it says something else.  A bundled problem is read by
its name.  docs/problem-files.md lists every key.
"""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fits.curve_numbers import CurveNumber
from fits.dose_problem import DoseProblem
from fits.joined import join_problems
from fits.parameters import Parameter, Scale
from fits.petab.files import Folder, read_yaml
from fits.petab.tables import Row, read_table
from fits.priors import Prior
from fits.problem import Distribution, Problem
from fits.problem_nodes import MOST_ITEMS, Node, as_number, merged, shown
from fits.reported import ReportedCurve, read_curve
from fits.terms import Hinge, ReportedNumber
from kinetics import catalogue
from kinetics.dosing import DoseProtocol
from kinetics.errors import InputError, KineticsError, ModelNotFound, UnknownName
from kinetics.experiment import Experiment
from kinetics.model import Model
from kinetics.observable import Readout
from kinetics.units import Quantity, doses, factor, quantity

FORMAT = "dose-response 1"
RANDOM = "random_effects"  # the key that makes a problem one over samples
_PETAB = ("format_version", "parameter_file", "parameter_files", "problems")


def bundled_problems() -> tuple[str, ...]:
    """Names of the problems that come with the package."""
    folder = _bundled_folder()
    return tuple(sorted(item.name for item in folder.iterdir() if (item / "problem.yaml").is_file()))


def _bundled_folder() -> Path:
    return Path(str(resources.files("fits"))) / "problems"


def read_problem(path: str | os.PathLike[str], *, case: str = "", trusted: bool = False) -> Problem:
    """A calibration problem from a problem file, a PEtab problem, or by the name of a bundled one.

    Args:
        path: the YAML file or its folder, or a name of `bundled_problems`.
        case: one of the cases of a problem file.
        trusted: skip the trial of foreign models in a child process (about half a second each).

    Raises:
        ModelNotFound: a file is missing.
        KineticsError: the problem has no meaning; the message names file, key, what was expected and what was got.
    """
    file = problem_path(path)
    content = read_yaml(file)
    if any(key in content for key in _PETAB):
        if case:
            raise InputError(f"{file.name}: a PEtab problem has no cases, got case={case!r}")
        from fits.petab import read_petab

        return read_petab(file, trusted=trusted)
    return _read(content, file, case, trusted).problem()


def read_description(path: str | os.PathLike[str], *, case: str = "", trusted: bool = False) -> ProblemDescription:
    """What a problem file says; errors as `read_problem`."""
    file = problem_path(path)
    return _read(read_yaml(file), file, case, trusted)


def problem_path(path: str | os.PathLike[str]) -> Path:
    """The YAML file that is meant by a file, a folder, or the name of a bundled problem.

    Raises:
        ModelNotFound, InputError: there is none, or several.
    """
    if isinstance(path, str) and path in bundled_problems():
        return _bundled_folder() / path / "problem.yaml"
    given = Path(path)
    found: list[Path] | None = None
    try:
        if given.is_dir():
            found = sorted(item for item in given.iterdir() if item.suffix in (".yaml", ".yml") and item.is_file())
        exists = given.is_file()
    except (OSError, ValueError) as error:
        raise ModelNotFound(f"no problem file at {str(path)!r}: {error}") from None
    if found is not None:
        preferred = [item for item in found if item.stem == "problem"] or found
        if len(preferred) != 1:
            names = ", ".join(item.name for item in found) or "none"
            raise InputError(f"{given.name}: expected a folder with one problem file, found {names}; name the file")
        return preferred[0]
    if not exists:
        near = difflib.get_close_matches(str(path), bundled_problems(), n=1, cutoff=0.5)
        hint = f"did you mean the bundled {near[0]!r}?" if near else f"bundled are: {', '.join(bundled_problems())}"
        raise ModelNotFound(f"no problem file at {str(path)!r}; {hint}")
    return given


@dataclass(frozen=True)
class ProblemDescription:
    """A dose-response calibration as its file states it."""

    id: str
    title: str
    source: str
    model: Model
    data: tuple[DoseProblem, ...]
    protocols: Mapping[str, DoseProtocol]
    terms: tuple[ReportedNumber | Hinge, ...]
    notes: tuple[str, ...]
    cases: Mapping[str, str]  # titles by name
    case: str = ""  # the case this is
    folder: Path = field(default=Path(), compare=False)

    @property
    def curves(self) -> Mapping[str, ReportedCurve]:
        """The reported curves by data set."""
        return {part.dataset: part.curve for part in self.data}

    def problem(self) -> Problem:
        """The problem to be fitted; raises what `DoseProblem.problem` raises."""
        made = [part.problem() for part in self.data]
        return join_problems(self.id, made, self.terms, self.notes)


# --- the file --------------------------------------------------------------------------------------------------


def top_of(content: Mapping[str, Any], file: Path, case: str) -> tuple[Node, dict[str, Node]]:
    """A problem file with the changes of a case, and all of its cases by name.

    Raises:
        InputError, UnknownName: it is of another format, or there is no such case.
    """
    name = file.name
    if "format" not in content:
        raise InputError(
            f"{name}: expected 'format: {FORMAT}' (a dose-response problem) or a 'format_version' (PEtab), got "
            f"neither; the file has {', '.join(list(content)[:8]) or 'nothing'}"
        )
    if content["format"] != FORMAT:
        raise InputError(f"{name}: format: expected {FORMAT!r}, got {shown(content['format'])}")
    top = Node(name, "", content)
    cases = {key: top.node("cases").node(key) for key in top.node("cases", {}).content}
    if case:
        if case not in cases:
            raise UnknownName("case", case, cases, name)
        overrides = {key: value for key, value in cases[case].content.items() if key != "title"}
        overlaid = merged({key: value for key, value in content.items() if key != "cases"}, overrides)
        assert isinstance(overlaid, Mapping)
        top = Node(f"{name} ({case})", "", overlaid)
    return top, cases


def _read(content: Mapping[str, Any], file: Path, case: str, trusted: bool) -> ProblemDescription:
    top, cases = top_of(content, file, case)
    if RANDOM in content:
        raise InputError(
            f"{file.name}: a problem with {RANDOM!r} is one over samples; 'kinetics fit' fits it, and "
            "fits.population.read_population reads it"
        )
    top.known(
        "format", "id", "title", "source", "notes", "model", "variant", "values", "protocols", "data", "parameters",
        "terms", "cases",
    )  # fmt: skip
    folder = Folder(file.parent, file.name)
    model = read_model(top, folder, trusted)
    named, estimated = top.node("protocols"), top.node("parameters")
    protocols = {key: _protocol(named.node(key), model) for key in named.content}
    parameters = {key: read_parameter(estimated.node(key), key, model) for key in estimated.content}
    data = tuple(_data(node, model, protocols, parameters, folder) for node in top.nodes("data"))
    if not data:
        raise top.fault("data", "at least one table", top.content.get("data"))
    return ProblemDescription(
        top.text("id", what="a name for the problem"),
        top.text("title", ""),
        " ".join(top.texts("source")),
        model,
        data,
        MappingProxyType(protocols),
        tuple(_terms(top, protocols, folder)),
        top.texts("notes"),
        MappingProxyType({key: node.text("title", key) for key, node in cases.items()}),
        case,
        file.parent,
    )


def read_model(top: Node, folder: Folder, trusted: bool) -> Model:
    """The model of a problem file, with the variant and the values it states."""
    name = top.text("model", what="the name of a bundled model, or an SBML or Antimony file beside this one")
    try:
        if name in {entry.name for entry in catalogue.models()}:
            model = Model.load(name)
        elif "." in name or "/" in name:
            model = Model.load(folder.file(name, "model"), trusted=trusted)
        else:
            known = ", ".join(entry.name for entry in catalogue.models())
            near = difflib.get_close_matches(name, [entry.name for entry in catalogue.models()], n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"bundled are: {known}"
            raise ModelNotFound(f"{top.where('model')}: no bundled model {name!r}, and no file name; {hint}")
        variant = top.text("variant", "")
        model = model.variant(variant) if variant else model
    except UnknownName as error:
        raise top.meaning("variant", error) from None
    values = top.node("values", {})
    for key in values.content:
        try:
            model = model.with_values(**{key: values.number(key)})
        except UnknownName as error:
            raise values.meaning(key, error) from None
    return model


def _protocol(node: Node, model: Model) -> DoseProtocol:
    """A named protocol: of the catalogue, or steps, target and read-out."""
    node.known("protocol", "steps", "target", "set", "everywhere", "readout", "at", "fold_over", "percent_of",
               "percent_inhibition", "percent_of_maximum", "doses")  # fmt: skip
    known = dict(model.entry.protocols) if model.entry else {}
    steps: list[tuple[float | str | Quantity, Mapping[str, Any]]] = []
    target = readout = at = ""
    if "protocol" in node.content:
        name = node.text("protocol")
        if name not in known:
            raise UnknownName("protocol", name, known, f"model {model.name!r} ({node.where('protocol')})")
        entry = known[name]
        target, readout, at = entry.ligand, entry.readout, entry.read_at
        steps = [(step.duration, dict(step.changes)) for step in entry.steps]
    for step in node.nodes("steps"):
        step.known("duration", "set")
        steps.append((step.text("duration", what="a duration such as '24 h'"), step.changes("set")))
    target = node.text("target", target or None, "the substance that is dosed")
    readout = node.text("readout", readout or None, "a species, read-out or formula of the model")
    at = node.text("at", at or None, "a time such as '10 min'")
    try:
        read = Readout.at(readout, at)
        for key in ("fold_over", "percent_of", "percent_inhibition"):
            if key in node.content:
                read = getattr(read, key)(node.changes(key))
        if node.content.get("percent_of_maximum"):
            read = read.percent_of_maximum()
        schedule = Experiment.steps(*steps, (at, node.changes("set")))
        if "everywhere" in node.content:
            schedule = schedule.replacing(node.changes("everywhere"))
        return DoseProtocol(target, _doses(node), read, schedule)
    except KineticsError as error:
        raise node.meaning("", error) from None


def _doses(node: Node) -> tuple[Quantity, ...]:
    """Doses of a simulated curve; the data bring their own."""
    given = node.content.get("doses")
    if given is None:
        return (Quantity(0.0, ""),)
    if isinstance(given, list):
        return tuple(quantity(item, f"dose in {node.where('doses')}") for item in given[:MOST_ITEMS])
    inner = node.node("doses")
    inner.known("lowest", "highest", "per_decade")
    return doses(inner.text("lowest"), inner.text("highest"), per_decade=int(inner.number("per_decade", 4.0)))


def read_parameter(node: Node, name: str, model: Model) -> Parameter:
    """An estimated parameter of the model: ``bounds`` and what else a problem file may say of it."""
    node.known("bounds", "scale", "unit", "prior", "nominal", "name", "why")
    bounds = node.content.get("bounds")
    ends = [as_number(end) for end in bounds] if isinstance(bounds, list) and len(bounds) == 2 else []
    if len(ends) != 2 or ends[0] is None or ends[1] is None:
        raise node.fault("bounds", "two numbers such as [0.02, 0.8]", bounds)
    scale: Scale = node.choice("scale", {item.value: item for item in Scale}, "log10")
    unit = node.text("unit", "")
    if name not in model.description.entities:
        settable = [item.id for item in model.description.entities.values() if item.settable]
        raise UnknownName("parameter", name, settable, f"model {model.name!r} ({node.where()})")
    own = model.entity(name).unit
    try:
        size = factor(unit, own, molar_mass=model.molar_masses.get(name), what="unit") if unit and unit != own else 1.0
        if size != 1.0 and "prior" in node.content:
            raise InputError(f"a prior is in the unit of the model: write bounds and prior in {own!r}, not {unit!r}")
        nominal = node.content.get("nominal")
        return Parameter(
            name, ends[0] * size, ends[1] * size, scale,
            math.nan if nominal is None else node.number("nominal") * size,
            prior=_prior(node) if "prior" in node.content else None, unit=own, name=node.text("name", ""),
        )  # fmt: skip
    except KineticsError as error:
        raise node.meaning("", error) from None


def _prior(node: Node) -> Prior:
    inner = node.node("prior")
    inner.known("family", "parameters", "scale")
    values = inner.content.get("parameters")
    numbers = [as_number(value) for value in values] if isinstance(values, list) else []
    if not numbers or any(number is None for number in numbers):
        raise inner.fault("parameters", "a list of numbers", values)
    plain = tuple(number for number in numbers if number is not None)
    return Prior(inner.text("family"), plain, inner.text("scale", "lin"))  # type: ignore[arg-type]  # Prior checks it


def _data(
    node: Node,
    model: Model,
    protocols: Mapping[str, DoseProtocol],
    parameters: Mapping[str, Parameter],
    folder: Folder,
) -> DoseProblem:
    node.known("dataset", "file", "dose_unit", "protocol", "identical_rows", "scale", "offset", "noise", "distribution",
               "source")  # fmt: skip
    curve = read_curve(
        folder.file(node.content.get("file"), f"{node.path}.file"),
        dose_unit=node.text("dose_unit", ""),
        source=" ".join(node.texts("source")),
    )
    once = node.choice("identical_rows", {"keep": False, "once": True}, "keep")
    given = node.content.get("protocol")
    by_arm: DoseProtocol | dict[str, DoseProtocol]
    if isinstance(given, Mapping):
        by_arm = {str(arm): _named(protocols, name, node, f"protocol.{arm}") for arm, name in given.items()}
    else:
        by_arm = _named(protocols, given, node, "protocol")
    distributions = {item.value: item for item in Distribution}
    return DoseProblem(
        model,
        by_arm,
        curve.once() if once else curve,
        dict(parameters),
        scale=_given(node, "scale"),
        offset=_given(node, "offset"),
        noise=_given(node, "noise"),
        distribution=node.choice("distribution", distributions, "normal"),
        dataset=node.text("dataset", "data"),
    )


def _given(node: Node, key: str) -> Any:
    """``estimate`` and the like, a number, or ``[lower, upper]``."""
    value = node.content.get(key)
    if isinstance(value, list):
        ends = [as_number(end) for end in value[:2]]
        if len(value) not in (2, 3) or None in ends:
            raise node.fault(key, "two bounds, as [lower, upper] or [lower, upper, log10]", value)
        return (*ends, *value[2:])
    number = as_number(value)
    if number is not None:
        return number
    if not isinstance(value, str):
        raise node.fault(key, "'estimate', a number or [lower, upper]", value)
    return value


def _named(protocols: Mapping[str, DoseProtocol], name: object, node: Node, key: str) -> DoseProtocol:
    if not isinstance(name, str) or name not in protocols:
        raise UnknownName("protocol", str(name), protocols, node.where(key))
    return protocols[name]


# --- terms -----------------------------------------------------------------------------------------------------

_TERM = ("id", "kind", "number", "curve", "reference", "dose", "value", "error", "lower", "upper", "width", "source")


def _terms(top: Node, protocols: Mapping[str, DoseProtocol], folder: Folder) -> Iterable[ReportedNumber | Hinge]:
    """Terms that stand in the file, or in tables it names."""
    given = top.content.get("terms")
    if isinstance(given, str):
        for row in read_table(folder.file(given, "terms"), ("id", "number", "curve")):
            yield _term(Node(row.where(), "", _cells(row)), protocols)
        return
    for node in top.nodes("terms"):
        yield _term(node, protocols)


def _cells(row: Row) -> dict[str, str]:
    return {column: text for column, text in row.cells.items() if text}


def _term(node: Node, protocols: Mapping[str, DoseProtocol]) -> ReportedNumber | Hinge:
    node.known(*_TERM)
    kind = node.choice("kind", {"number": ReportedNumber, "hinge": Hinge}, "number")
    reference = node.content.get("reference")
    other = None if reference is None else _named(protocols, reference, node, "reference")
    source, lower, upper = node.text("source", ""), node.number("lower", -math.inf), node.number("upper", math.inf)
    dose = node.text("dose") if "dose" in node.content else None
    try:
        number = CurveNumber(
            node.text("number"), _named(protocols, node.content.get("curve"), node, "curve"), other, dose
        )
        name = node.text("id", what="a name for the term")
        if kind is Hinge:
            if "value" in node.content or "error" in node.content:
                raise InputError("a hinge has limits and a width; a value with an error is of kind 'number'")
            return Hinge(name, number, node.number("width", math.nan), lower, upper, source)
        if "width" in node.content:
            raise InputError("a number has an error; a width belongs to kind 'hinge'")
        value, error = node.number("value", math.nan), node.number("error", math.nan)
        return ReportedNumber(name, number, value, error, lower, upper, source)
    except KineticsError as error:
        text = str(error)
        raise error if text.startswith(node.file) else node.meaning("", error) from None
