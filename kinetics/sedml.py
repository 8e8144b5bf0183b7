"""Simulations for other tools: SED-ML Level 1 Version 4 in a COMBINE archive (OMEX).

An archive holds the model with its schedule as SBML (`scheduled`), the SED-ML document that says what is simulated and
read, and a manifest.  For a dose-response the document derives a model per dose; the response is the last row of each
data set.  What cannot be said is refused with the reason rather than written differently.
"""

from __future__ import annotations

import io
import math
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from kinetics.dosing import DoseProtocol
from kinetics.engine import Solver
from kinetics.errors import InputError, UnsupportedModel
from kinetics.experiment import Experiment
from kinetics.expression import Expression, substitute
from kinetics.expression import Symbol as Name
from kinetics.mathml import to_mathml
from kinetics.model import Model
from kinetics.observable import Readout
from kinetics.schedule import Stage, resolve, time_in
from kinetics.scheduled import PREFIX, from_zero, with_schedule

SEDML = "http://sed-ml.org/sed-ml/level1/version4"
OMEX = "http://identifiers.org/combine.specifications/omex-manifest"
MOST_STEPS = 100_000
SAME = 1e-9  # of the step: times that lie this close to the grid are on it
_EPOCH = (1980, 1, 1, 0, 0, 0)  # of the files inside, so that equal content gives equal bytes


@dataclass(frozen=True)
class Archive:
    """What goes into a COMBINE archive."""

    sedml: str
    models: Mapping[str, str]  # SBML text by file name
    notes: tuple[str, ...] = field(default=())  # what a reader of the archive should know

    def manifest(self) -> str:
        """The table of contents, with the SED-ML document as what to run."""
        root = ElementTree.Element("omexManifest", xmlns=OMEX)
        ElementTree.SubElement(root, "content", location=".", format=OMEX.replace("-manifest", ""))
        ElementTree.SubElement(root, "content", location="./manifest.xml", format=OMEX)
        sbml = "http://identifiers.org/combine.specifications/sbml"
        for name in self.models:
            ElementTree.SubElement(root, "content", location=f"./{name}", format=sbml)
        sedml = "http://identifiers.org/combine.specifications/sed-ml.level-1.version-4"
        ElementTree.SubElement(root, "content", location="./simulation.sedml", format=sedml, master="true")
        return _text(root)

    def to_bytes(self) -> bytes:
        """The archive as a zip file; the same content gives the same bytes."""
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, text in (
                ("manifest.xml", self.manifest()), ("simulation.sedml", self.sedml), *self.models.items()
            ):  # fmt: skip
                info = zipfile.ZipInfo(name, _EPOCH)
                info.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(info, text.encode())
        return out.getvalue()

    def write(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the archive beside and rename it.

        Raises:
            InputError: there is such a file and ``overwrite`` is not set, or the name does not end in ``.omex``.
        """
        target = Path(path)
        if target.suffix.lower() != ".omex":
            raise InputError(f"a COMBINE archive is written as .omex, got {target.name!r}")
        if target.exists() and not overwrite:
            raise InputError(f"{str(path)!r} exists and is left as it is; pass overwrite=True to replace it")
        beside = target.with_name(f".{target.name}.{os.getpid()}.part")
        try:
            beside.write_bytes(self.to_bytes())
            os.replace(beside, target)
        finally:
            beside.unlink(missing_ok=True)


# --- what is written ------------------------------------------------------------------------------------------


def simulation_archive(
    model: Model,
    experiment: Experiment | None,
    times: npt.ArrayLike,
    observables: Sequence[str] = (),
    *,
    solver: Solver | None = None,
    parameters: Mapping[str, float] | None = None,
) -> Archive:
    """A simulation as `simulation.simulate` runs it.

    SED-ML reads a time course at even steps from its start: the document has the coarsest such grid that meets all
    ``times``.  At the very time at which a period starts tools differ in whether they show the state before or after.

    Args:
        times: in the model's unit, finite.
        observables: formulas; by default the model's readouts.

    Raises:
        InputError: the schedule, the times or an observable cannot be said in SBML and SED-ML.
        UnknownName, UnitError: as for `simulation.simulate`.
    """
    stages = resolve(model, experiment)
    names = tuple(observables) or tuple(model.readouts) or model.species
    wanted = np.atleast_1d(np.asarray(times, dtype=float))
    if not wanted.size or not np.all(np.isfinite(wanted)):
        raise InputError("SED-ML's time course needs finite times; a steady state has no time there")
    formulas = [model.formula(name, "observable") for name in names]
    if any("$time" in formula.names for formula in formulas):
        moved, offset = stages, 0.0
    else:
        moved, offset = from_zero(model, stages)
    sbml = with_schedule(model, moved, parameters)
    start = stages[0].start
    steps = _steps(start, wanted)
    end = float(wanted.max()) - offset
    document = _Document(model, sbml, moved[0].start, end, steps, solver or Solver())
    document.model("model", "model.xml")
    document.task("task", "model")
    document.data("time", "task", Name("$time") + offset)
    for number, (name, formula) in enumerate(zip(names, formulas, strict=True)):
        document.data(f"observable_{number + 1}", "task", formula, name)
    notes = [f"{steps} even steps from {start:g} to {wanted.max():g} {model.time_unit}".rstrip()]
    if offset:
        notes.append(f"time {offset:g} is time 0 in the archive; the data set 'time' is as here")
    if len(stages) > 1:
        notes.append("later periods are events of the SBML; at the very time of a change tools show either side of it")
    return Archive(document.text(), {"model.xml": sbml}, tuple(notes))


def dose_archive(
    model: Model,
    protocol: DoseProtocol,
    *,
    solver: Solver | None = None,
    parameters: Mapping[str, float] | None = None,
) -> Archive:
    """A dose-response as `dosing.dose_response` runs it: a task per dose, whose last row is the response.

    Raises:
        InputError: the read-out is not the value at a finite time, or the schedule cannot be said.
    """
    _check_readout(protocol.readout)
    assert protocol.readout.time is not None
    end = time_in(model, protocol.readout.time)
    formula = model.formula(protocol.readout.formula, "read-out")
    experiments = [resolve(model, experiment) for experiment in protocol.experiments()]
    if "$time" not in formula.names:
        offset = from_zero(model, experiments[0])[1]
        experiments, end = [from_zero(model, stages)[0] for stages in experiments], end - offset
    index, doses = _doses(experiments, protocol.target)
    stages = experiments[0]
    start = stages[0].start
    if not end > start:
        raise InputError(f"the read-out at {end:g} is not after the start of the experiment at {start:g}")
    if index == 0:
        sbml = with_schedule(model, stages, parameters)
        dosed = model.entity(protocol.target)
        stated = {"species": "initialAmount" if dosed.amount else "initialConcentration", "compartment": "size"}
        target = f"{_target(model, protocol.target)}/@{stated.get(dosed.kind, 'value')}"
    else:
        sbml = _with_dose_parameter(model, stages, index, protocol.target, parameters)
        target = f"/sbml:sbml/sbml:model/sbml:listOfParameters/sbml:parameter[@id='{PREFIX}dose']/@value"
    document = _Document(model, sbml, start, end, 1, solver or Solver())
    document.model("model", "model.xml")
    for number, dose in enumerate(doses, 1):
        document.model(f"model_{number}", "#model", (target, dose))
        document.task(f"task_{number}", f"model_{number}")
        document.data(
            f"response_{number}", f"task_{number}", formula, f"{protocol.target}={protocol.doses[number - 1]}"
        )
    return Archive(document.text(), {"model.xml": sbml}, ("the response to a dose is the last row of its data set",))


def _check_readout(readout: Readout) -> None:
    reason = ""
    if readout.when != "value":
        reason = f"a read-out of kind {readout.when.replace('_', ' ')!r}; only the value at a time can be said"
    elif readout.gate:
        reason = "a fraction above a gate, for which MathML lacks the normal distribution"
    elif readout.relative or readout.of_maximum:
        reason = "a read-out relative to another; write the plain one and its reference, and divide"
    if reason:
        raise InputError(f"{readout!r} cannot be written as SED-ML: it is {reason}")


def _doses(experiments: Sequence[tuple[Stage, ...]], target: str) -> tuple[int, list[float]]:
    """In which stage the target gets its dose, and the doses in the model's unit."""
    found: list[tuple[int, float]] = []
    for stages in experiments:
        places = [
            (k, value) for k, stage in enumerate(stages) for name, value in stage.changes
            if name == target and not isinstance(value, Expression)
        ]  # fmt: skip
        differing = [place for place in places if any(place not in _places(other, target) for other in experiments)]
        found.append((differing or places)[-1])
    indices = {index for index, _ in found}
    if len(indices) != 1:
        raise InputError(f"the dose of {target!r} stands in several periods, which one archive cannot say")
    return indices.pop(), [dose for _, dose in found]


def _places(stages: tuple[Stage, ...], target: str) -> list[tuple[int, object]]:
    return [(k, value) for k, stage in enumerate(stages) for name, value in stage.changes if name == target]


def _with_dose_parameter(
    model: Model, stages: Sequence[Stage], index: int, target: str, parameters: Mapping[str, float] | None
) -> str:
    """The scheduled model in which the dose is a parameter of its own, for the derived models to change."""
    from kinetics.sbml_library import libsbml_module

    name = f"{PREFIX}dose"
    dose = next(value for other, value in stages[index].changes if other == target)
    changes = tuple((other, Name(name) if other == target else value) for other, value in stages[index].changes)
    symbolic = [Stage(s.start, changes) if k == index else s for k, s in enumerate(stages)]
    sbml = with_schedule(model, symbolic, parameters)
    document = libsbml_module().readSBMLFromString(sbml)
    parameter = document.getModel().createParameter()
    parameter.setId(name)
    parameter.setConstant(True)
    parameter.setValue(cast(float, dose))  # the doses of a protocol are quantities, which resolve to numbers
    if model.entity(target).kind == "parameter":
        parameter.setUnits(document.getModel().getParameter(target).getUnits())
    return str(libsbml_module().writeSBMLToString(document))


def _steps(start: float, times: npt.NDArray[np.float64]) -> int:
    """How many even steps from ``start`` to the last time meet all times."""
    lengths = np.unique(np.round(times - start, 12))
    if lengths[0] < 0.0:
        raise InputError(f"the time {times.min():g} lies before the start of the experiment at {start:g}")
    lengths = lengths[lengths > 0.0]
    if not lengths.size:
        raise InputError("a time course needs a time after the start of the experiment")
    step = float(lengths[0])
    for length in lengths[1:]:
        step = _common(step, float(length), SAME * float(lengths[0]))
    count = lengths[-1] / step
    if count > MOST_STEPS or np.any(np.abs(lengths / step - np.round(lengths / step)) > 1e-6):
        raise InputError(
            f"SED-ML reads a time course at even steps: no grid of at most {MOST_STEPS:,} steps from {start:g} meets "
            "all of these times; choose times with a common step"
        )
    return round(float(count))


def _common(one: float, other: float, smallest: float) -> float:
    """The largest step that divides both lengths, by Euclid's algorithm."""
    while other > smallest:
        one, other = other, one - other * math.floor(one / other + SAME)
        other = max(other, 0.0)
    return one


# --- the document -----------------------------------------------------------------------------------------------


def _target(model: Model, name: str) -> str:
    """Where a name stands in the SBML."""
    kind = model.entity(name).kind
    lists = {
        "species": "listOfSpecies/sbml:species", "parameter": "listOfParameters/sbml:parameter",
        "compartment": "listOfCompartments/sbml:compartment", "reaction": "listOfReactions/sbml:reaction",
    }  # fmt: skip
    if kind not in lists:
        raise UnsupportedModel(f"{name!r} is a {kind}, which SED-ML has no target for")
    return f"/sbml:sbml/sbml:model/sbml:{lists[kind]}[@id='{name}']"


class _Document:
    """A SED-ML document in the making: one simulation, any number of models, tasks and data."""

    def __init__(self, model: Model, sbml: str, start: float, end: float, steps: int, solver: Solver) -> None:
        namespace = ElementTree.fromstring(sbml.encode()).tag.partition("}")[0].lstrip("{")
        self._of = model
        self._root = ElementTree.Element(
            "sedML", {"xmlns": SEDML, "xmlns:sbml": namespace, "level": "1", "version": "4"}
        )
        level = "urn:sedml:language:sbml"
        self._language = level
        simulations = self._list("listOfSimulations")
        self._models, self._tasks = self._list("listOfModels"), self._list("listOfTasks")
        self._data, outputs = self._list("listOfDataGenerators"), self._list("listOfOutputs")
        course = ElementTree.SubElement(
            simulations, "uniformTimeCourse", id="simulation", initialTime=repr(start), outputStartTime=repr(start),
            outputEndTime=repr(end), numberOfSteps=str(steps),
        )  # fmt: skip
        algorithm = ElementTree.SubElement(course, "algorithm", name="CVODE", kisaoID="KISAO:0000019")
        settings = ElementTree.SubElement(algorithm, "listOfAlgorithmParameters")
        for kisao, value in (("KISAO:0000209", solver.rtol), ("KISAO:0000211", solver.atol)):
            ElementTree.SubElement(settings, "algorithmParameter", kisaoID=kisao, value=repr(value))
        report = ElementTree.SubElement(outputs, "report", id="report")
        self._sets = ElementTree.SubElement(report, "listOfDataSets")

    def _list(self, name: str) -> ElementTree.Element:
        return ElementTree.SubElement(self._root, name)

    def model(self, name: str, source: str, change: tuple[str, float] | None = None) -> None:
        made = ElementTree.SubElement(self._models, "model", id=name, language=self._language, source=source)
        if change:
            changes = ElementTree.SubElement(made, "listOfChanges")
            ElementTree.SubElement(changes, "changeAttribute", target=change[0], newValue=repr(float(change[1])))

    def task(self, name: str, model: str) -> None:
        ElementTree.SubElement(
            self._tasks, "task", id=name, modelReference=model, simulationReference="simulation"
        )  # fmt: skip

    def data(self, name: str, task: str, formula: Expression, label: str = "") -> None:
        """A data generator and its data set."""
        made = ElementTree.SubElement(self._data, "dataGenerator", id=name, name=label or name)
        variables = ElementTree.SubElement(made, "listOfVariables")
        symbols = sorted(formula.names)
        ids = {symbol: f"{name}_v{k + 1}" for k, symbol in enumerate(symbols)}
        for symbol, own in ids.items():
            where = {"symbol": "urn:sedml:symbol:time"} if symbol == "$time" else {"target": _target(self._of, symbol)}
            ElementTree.SubElement(variables, "variable", {"id": own, "taskReference": task, **where})
        renamed = substitute(formula, {symbol: Name(own) for symbol, own in ids.items()})
        made.append(ElementTree.fromstring(to_mathml(renamed)))
        ElementTree.SubElement(self._sets, "dataSet", id=f"set_{name}", label=label or name, dataReference=name)

    def text(self) -> str:
        return _text(self._root)


def _text(root: ElementTree.Element) -> str:
    ElementTree.register_namespace("math", "http://www.w3.org/1998/Math/MathML")
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"
