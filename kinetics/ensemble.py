"""Ensembles: many parameter sets of one model that all agree with what is known.

Where data leave a model undetermined, one set of constants is an arbitrary choice; an ensemble says what a
prediction depends on.  Bundled ensembles lie beside the models, ``sbml/ensembles/<model>.csv`` with a row per set,
and ``<model>.json`` with how they were made.
"""

from __future__ import annotations

import csv
import functools
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np

from kinetics.equations import read_equations
from kinetics.errors import InputError, ModelNotFound
from kinetics.expression import FloatArray
from kinetics.model import Model


@dataclass(frozen=True)
class Interval:
    """Median and range of a prediction over an ensemble; a range of members, not a probability."""

    median: float
    low: float
    high: float
    of: int

    @property
    def range(self) -> str:
        """The numbers alone."""
        return f"{self.median:.3g} ({self.low:.3g} to {self.high:.3g})"

    def __str__(self) -> str:
        return f"{self.range} over {self.of} parameter sets"


@dataclass(frozen=True)
class Ensemble:
    """Parameter sets of a model.

    Attributes:
        model: name of the model.
        names: the parameters that differ.
        values: shape ``(n_sets, n_names)``, in the units of the model.
        search: shape ``(n_sets,)``, which independent search found each set.
        provenance: how the sets were made: rule, seeds, versions, and the fingerprint of the model.
    """

    model: str
    names: tuple[str, ...]
    values: FloatArray
    search: FloatArray
    provenance: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[dict[str, float]]:
        """The sets, each as values by name."""
        for row in self.values.tolist():
            yield dict(zip(self.names, row, strict=True))

    def columns(self) -> dict[str, FloatArray]:
        """Name to values over the sets, as `kinetics.batch.Batch` takes them."""
        return {name: self.values[:, i] for i, name in enumerate(self.names)}

    def models(self, model: Model) -> list[Model]:
        """A model per set.

        Raises:
            InputError: the model is not the one the ensemble was made for.
        """
        self.check(model)
        return [model.with_values(**values) for values in self]

    def interval(self, prediction: Callable[[Mapping[str, float]], float]) -> Interval:
        """A number computed for every set."""
        return interval(prediction(values) for values in self)

    def check(self, model: Model) -> None:
        """Refuse a model with other equations or other fixed constants than the ensemble was made with.

        Raises:
            InputError: with what to do.
        """
        expected = self.provenance.get("fingerprint")
        if expected != (got := fingerprint(model, self.names)):
            again = " ".join(self.provenance.get("command", ("the script that made it",)))
            raise InputError(
                f"the ensemble of {self.model!r} was made for other equations or constants (fingerprint {expected}, "
                f"the model has {got}): run again {again}"
            )


def interval(values: Iterable[float]) -> Interval:
    """Median and range; NaN where a value is NaN."""
    found = np.array(list(values), dtype=float)
    return Interval(float(np.median(found)), float(np.min(found)), float(np.max(found)), len(found))


def fingerprint(model: Model, free: Iterable[str]) -> str:
    """Of the equations and of all constants but the ``free`` ones: 16 hexadecimal digits.

    Initial values of states are left out: an ensemble is about cells that have come to rest.
    """
    equations, left_out = read_equations(model.to_sbml()), set(free)  # with the model's own changed values
    parts = [f"{name}'={rate}" for name, rate in sorted(equations.rates.items())]
    parts += [f"{name}={equations.initial[name]}" for name in sorted(equations.constants) if name not in left_out]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


@functools.cache
def load(model: str) -> Ensemble:
    """The bundled ensemble of a model.

    Raises:
        ModelNotFound: there is none.
        InputError: its table is damaged.
    """
    folder = resources.files("sbml").joinpath("ensembles")
    try:
        text = folder.joinpath(f"{model}.csv").read_text(encoding="utf-8")
        provenance = json.loads(folder.joinpath(f"{model}.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise ModelNotFound(f"no ensemble of {model!r} is bundled") from None
    return parse(model, text, provenance)


def parse(model: str, text: str, provenance: Mapping[str, Any]) -> Ensemble:
    """An ensemble from its table (CSV: ``search``, then a column per parameter) and how it was made.

    Raises:
        InputError: the table is damaged.
    """
    rows = list(csv.reader(io.StringIO(text)))
    if len(rows) < 2 or rows[0][:1] != ["search"] or any(len(row) != len(rows[0]) for row in rows):
        raise InputError(f"the ensemble of {model!r} is damaged: expected a table with 'search' and parameters")
    try:
        table = np.array([[float(cell) for cell in row] for row in rows[1:]])
    except ValueError as error:
        raise InputError(f"the ensemble of {model!r} is damaged: expected numbers only, {error}") from None
    if not np.all(np.isfinite(table)):
        raise InputError(f"the ensemble of {model!r} is damaged: expected finite numbers only")
    return Ensemble(model, tuple(rows[0][1:]), table[:, 1:], table[:, 0], provenance)
