"""What the readers of both versions share: models, symbols, measurements."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path

from fits.petab.tables import Row, constant
from fits.problem import Distribution, Measurement, Observable
from kinetics.description import Entity
from kinetics.errors import InputError, UnknownName, UnsupportedModel
from kinetics.expression import Expression
from kinetics.formula import RESERVED
from kinetics.model import Model


def load_model(path: Path, language: object, where: str, *, trusted: bool) -> Model:
    """An SBML model; other languages are refused by name."""
    if not isinstance(language, str):
        raise InputError(f"{where}: expected 'language: sbml', got {language!r}")
    if language.lower() != "sbml":
        raise UnsupportedModel(f"{where}: a model in {language!r}; only 'sbml' can be read; convert it first")
    return Model.load(path, trusted=trusted)


def own_symbols(model: Model) -> frozenset[str]:
    """Entities of the model whose names are constants of the formula language elsewhere."""
    return frozenset(RESERVED & model.description.entities.keys())


def check_parameter(row: Row, name: str, models: Collection[Model], targets: Mapping[str, str]) -> None:
    """Refuse a row of the parameter table that cannot be a parameter.

    Args:
        targets: what conditions set, and where: such a thing has no value of its own.
    """
    if name in targets:
        raise row.fault(
            "parameterId",
            f"{name!r} is set by a condition ({targets[name]}), so it cannot be in the parameter table as well; "
            "give the estimated value another name and use that in the condition",
        )
    for model in models:
        entity = model.description.entities.get(name)
        if entity is None:
            continue
        if entity.kind not in ("parameter", "compartment"):
            raise row.fault(
                "parameterId",
                f"{name!r} is a {entity.kind} of model {model.name!r}, not a parameter; "
                "set initial values in the condition table",
            )
        if not entity.settable:
            raise row.fault("parameterId", f"{name!r} follows from an assignment rule in model {model.name!r}")


def check_target(row: Row, column: str, name: str, entity: Entity) -> None:
    """Refuse a target of a condition that cannot be set."""
    if not entity.settable:
        why = "an assignment rule determines it" if entity.rule == "assignment" else f"it is a {entity.kind}"
        raise row.fault(column, f"{name!r} cannot be set by a condition: {why}")


def expand(formula: str, name: str, meaning: str) -> str:
    """``formula`` with the observable ``name`` written out."""
    return re.sub(rf"(?<![\w.]){re.escape(name)}(?!\w)", lambda _: f"({meaning})", formula)


def check_sigma(row: Row, formula: Expression) -> None:
    """Refuse noise that is a number and not positive."""
    sigma = constant(formula)
    if sigma is not None and not sigma > 0.0:
        raise row.fault("noiseFormula", f"the standard deviation must be positive, got {sigma:g}")


def measurement(
    row: Row,
    observable: Observable,
    experiment: str,
    start: float,
    overriders: Collection[str],
    *,
    extra: tuple[str | float, ...] = (),
    model: str = "",
) -> Measurement:
    """One row of the measurement table.

    Args:
        start: the earliest time at which the experiment can be read.
        overriders: parameters that placeholders may be replaced by.
        extra: overrides of the placeholders after those that the table itself fills.
    """
    time = row.number("time", infinite="+")
    if time < start:
        raise row.fault("time", f"expected a time from the start of the experiment ({start:g}) on, got {time:g}")
    value = row.number("measurement")
    if observable.distribution.transformation != "lin" and value <= 0.0:
        raise row.fault(
            "measurement",
            f"a measurement of {observable.id!r} has {observable.distribution.value} noise and must be positive, "
            f"got {value:g}",
        )
    given = {}
    for column, placeholders, more in (
        ("observableParameters", observable.observable_placeholders, extra),
        ("noiseParameters", observable.noise_placeholders, ()),
    ):
        overrides = row.overrides(column, overriders)
        wanted = len(placeholders) - len(more)
        if len(overrides) != wanted:
            named = f" ({'; '.join(placeholders[:wanted])})" if wanted else ""
            raise row.fault(
                column,
                f"observable {observable.id!r} has {wanted} placeholders here{named}, so {wanted} values separated "
                f"by ';' are needed, got {len(overrides)}",
            )
        given[column] = (*overrides, *more)
    if observable.noise_placeholders and observable.noise.strip() == observable.noise_placeholders[0]:
        sigma = given["noiseParameters"][0]
        if not isinstance(sigma, str) and not sigma > 0.0:
            raise row.fault("noiseParameters", f"the standard deviation must be positive, got {sigma:g}")
    return Measurement(
        observable.id,
        experiment,
        time,
        value,
        given["observableParameters"],
        given["noiseParameters"],
        model=model,
        dataset=row["datasetId"],
        replicate=row["replicateId"],
    )


def check_known(row: Row, column: str, kind: str, name: str, known: Collection[str]) -> None:
    """Refuse an id that no other table declares."""
    if name not in known:
        raise UnknownName(kind, name, known, row.where(column))


DISTRIBUTIONS = {item.value: item for item in Distribution}
