"""A `Problem` on its way to PEtab: valid ids, experiments in the model's units, and what cannot be said."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from fits.parameters import Parameter
from fits.petab.tables import IDENTIFIER
from fits.problem import Measurement, Observable, Problem
from kinetics.errors import InputError
from kinetics.expression import Call, Expression, Number, Symbol, expression, nodes
from kinetics.formula import RESERVED, parse
from kinetics.model import Model
from kinetics.schedule import Stage, resolve, same_time, time_in

_UNKNOWN = frozenset(("floor", "ceil", "factorial"))  # functions that PEtab's formulas lack


@dataclass(frozen=True)
class Step:
    """One period of an exported experiment."""

    start: float
    name: str  # a name for its condition, wished for
    changes: tuple[tuple[str, Expression], ...]


@dataclass(frozen=True)
class Course:
    """An experiment as it is exported, and its measurements."""

    id: str
    model: str  # id in the files
    steps: tuple[Step, ...]
    rows: tuple[Measurement, ...]
    as_is: bool  # the model without any changes, from time 0


class Export:
    """What both versions need; ``losses`` grows while tables are made.

    Attributes:
        models: ids in the files by name in the problem, of models with measurements.
        initial: parameters of the problem that are initial values of species, by species: PEtab wants another
            name for these, which a condition then gives to the species.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.losses: list[str] = []
        self.id = _identifier(problem.id) or "problem"
        self._taken: set[str] = {p.id for p in problem.parameters.parameters} | set(problem.observables)
        for model in problem.models.values():
            self._taken |= set(model.description.entities)
        for observable in problem.observables.values():
            self._taken |= {*observable.observable_placeholders, *observable.noise_placeholders}
        used = {self.key(row) for row in problem.measurements}
        self.models = {name: self.free(name) for name in problem.models if name in used}
        self.initial = {
            p.id: self.free(f"initial_{p.id}") for p in problem.parameters.parameters if self._is_species(p.id)
        }
        self.losses += [
            f"parameter {name!r} is an initial value of the species; in the files it is called {new!r}"
            for name, new in self.initial.items()
        ]
        for term in problem.terms:
            self.losses.append(f"PEtab has no word for {_described(term)}; it was left out")
        rows = tuple(row for row in problem.measurements if not row.censored)
        if len(rows) < len(problem.measurements):
            count = len(problem.measurements) - len(rows)
            self.losses.append(f"{count} censored or interval measurements were left out: PEtab has exact values only")
        if not rows:
            raise InputError(f"problem {problem.id!r} has no measurements that PEtab can state")
        self.courses = self._courses(rows)

    def key(self, row: Measurement) -> str:
        """The name of the model a measurement belongs to."""
        return row.model or next(iter(self.problem.models))

    def _is_species(self, name: str) -> bool:
        return any(
            model.description.entities[name].kind == "species"
            for model in self.problem.models.values()
            if name in model.description.entities
        )

    def free(self, wish: str) -> str:
        """A valid id that nothing else has."""
        wish = _identifier(wish) or "item"
        found = wish
        number = 2
        while found in self._taken:
            found, number = f"{wish}_{number}", number + 1
        self._taken.add(found)
        return found

    # experiments

    def _courses(self, rows: Collection[Measurement]) -> list[Course]:
        groups: dict[str, dict[str, list[Measurement]]] = {}
        for row in rows:
            groups.setdefault(row.experiment, {}).setdefault(self.key(row), []).append(row)
        left_out = sorted(set(self.problem.experiments) - groups.keys())
        if left_out:
            self.losses.append(f"experiments without measurements were left out: {', '.join(map(repr, left_out))}")
        courses = []
        for name, by_model in groups.items():
            made: list[tuple[tuple[Step, ...], str]] = []
            for key, measured in by_model.items():
                steps = self._steps(name, self.problem.models[key])
                same = next((id for other, id in made if other == steps), None)
                as_is = steps == (Step(0.0, steps[0].name, ()),)
                if same is None:
                    wish = name if not made else f"{name}__{key}"
                    same = "" if as_is and not name else self.free(wish or "experiment")
                    made.append((steps, same))
                courses.append(Course(same, self.models[key], steps, tuple(measured), as_is))
        return courses

    def _steps(self, name: str, model: Model) -> tuple[Step, ...]:
        experiment = self.problem.experiments[name]
        symbols = {p.id for p in self.problem.parameters.parameters} - model.description.entities.keys()
        stages = resolve(model, experiment, symbols=symbols)
        steps = []
        for index, stage in enumerate(stages):
            changes = {target: expression(value) for target, value in stage.changes}
            if index == 0:
                for target, value in self._base(model).items():
                    changes.setdefault(target, value)
            names = [
                condition.id
                for period in experiment.periods
                if _starts(model, period.start, stage)
                for condition in period.conditions
            ]
            wish = names[0] if len(names) == 1 and names[0] else f"{name or 'experiment'}_{index + 1}"
            steps.append(Step(stage.start, wish, tuple(sorted(changes.items(), key=lambda item: item[0]))))
        return tuple(steps)

    def _base(self, model: Model) -> dict[str, Expression]:
        """What every experiment starts with: values of a variant of the model, estimated initial values."""
        mine = {p.id for p in self.problem.parameters.parameters}
        base: dict[str, Expression] = {n: Number(value) for n, value in model.values.items() if n not in mine}
        base |= {n: Symbol(new) for n, new in self.initial.items() if n in model.description.entities}
        return base

    # formulas

    def formula(self, text: str, observable: Observable, models: Iterable[Model]) -> str:
        """A formula of an observable without the readouts of a model and without constants that PEtab lacks."""
        models = tuple(models)
        own = frozenset(RESERVED & {name for model in models for name in model.description.entities})
        parsed = parse(text, own)
        symbols = {
            *observable.observable_placeholders,
            *observable.noise_placeholders,
            *(p.id for p in self.problem.parameters.parameters),
        }
        written = [model.formula(text, f"observable {observable.id!r}", symbols) for model in models]
        if any(item is not written[0] for item in written):
            self.losses.append(f"observable {observable.id!r} differs between its models; the first was taken")
        self.check(written[0], f"observable {observable.id!r}")
        if written[0] is parsed and not re.search(r"\b(pi|nan)\b|\*\*", text):
            return text
        return str(written[0])

    def check(self, formula: Expression, what: str) -> None:
        """Note functions that PEtab lacks."""
        for node in nodes((formula,)):
            if isinstance(node, Call) and node.op in _UNKNOWN:
                self.losses.append(f"{what} uses {node.op}(), which PEtab does not have; other tools will refuse it")
                return

    def used_observables(self) -> dict[str, list[Model]]:
        """Observables with measurements, and the models they are read in."""
        found: dict[str, list[Model]] = {}
        for course in self.courses:
            for row in course.rows:
                model = self.problem.models[self.key(row)]
                models = found.setdefault(row.observable, [])
                if not any(model is other for other in models):
                    models.append(model)
        return {name: found[name] for name in self.problem.observables if name in found}

    def parameter_name(self, parameter: Parameter) -> str:
        """Its id in the files."""
        return self.initial.get(parameter.id, parameter.id)

    def overrides(self, values: Iterable[str | float]) -> str:
        """A cell of ``observableParameters`` or ``noiseParameters``."""
        return ";".join(self.initial.get(v, v) if isinstance(v, str) else repr(float(v)) for v in values)


def _starts(model: Model, start: object, stage: Stage) -> bool:
    value = start.value if hasattr(start, "value") else math.nan
    if math.isinf(value):
        return math.isinf(stage.start)
    return same_time(time_in(model, start), stage.start)  # type: ignore[arg-type]  # a Quantity


def _described(term: object) -> str:
    name = getattr(term, "id", "") or getattr(term, "name", "")
    return f"{type(term).__name__} {name!r}" if name else f"a {type(term).__name__}"


def _identifier(text: str) -> str:
    name = re.sub(r"\W", "_", text, flags=re.ASCII)
    if name and name[0].isdigit():
        name = f"_{name}"
    if name.lower() in RESERVED:
        name += "_"
    return name if IDENTIFIER.fullmatch(name) else ""
