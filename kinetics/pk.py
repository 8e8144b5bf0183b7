"""Oral pharmacokinetics of one compartment: concentrations in closed form, and as input to a simulation.

A dose is absorbed at a first-order rate and eliminated at another (Bateman's equation), so the concentration after one
dose is a sum of exponentials.  Everything else follows from that sum: repeated doses and their periodic state are
geometric series, averages are integrals, and a tissue that exchanges with plasma at a first-order rate adds one term.
Rates, doses and fractions may be arrays that broadcast, one entry per subject.

>>> human = bundled("human")
>>> round(float(human.average), 2)  # total plasma, uM
2.36
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import resources
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from kinetics.catalogue import LABELS
from kinetics.errors import InputError, InvalidModel, UnknownName
from kinetics.experiment import Experiment, Period
from kinetics.units import Quantity

FloatArray = npt.NDArray[np.float64]

_APART = 1e-6  # relative distance below which two rates cannot be told apart by a difference of exponentials


@dataclass(frozen=True)
class Exponentials:
    """``sum(weight * exp(-rate * t))`` from time 0 on: what one dose does to a concentration."""

    weights: FloatArray  # (n_terms, *subjects), uM
    rates: FloatArray  # (n_terms, *subjects), 1/h

    def after(self, times: npt.ArrayLike) -> FloatArray:
        """Values at times since the dose, 0 before it; shape ``(n_times, *subjects)``."""
        at = _column(times, self.rates)
        decay = np.exp(-self.rates * np.maximum(at, 0.0)[:, None])
        return np.asarray(np.where(at >= 0.0, np.sum(self.weights * decay, axis=1), 0.0), dtype=float)

    def repeated(self, times: npt.ArrayLike, interval: float, number: int) -> FloatArray:
        """Values at times since the first of ``number`` doses; later doses add to what is left of earlier ones."""
        grid = np.atleast_1d(np.asarray(times, dtype=float))
        shifted = [self.after(grid - k * interval) for k in range(number)]
        return np.asarray(np.sum(shifted, axis=0), dtype=float)

    def periodic(self, times: npt.ArrayLike, interval: float) -> FloatArray:
        """Values at times since the latest of very many doses.

        Each term is that of the latest dose and ``1/(exp(rate interval) - 1)`` of it, which earlier doses left: what
        is left stays right where it is tiny beside a dose, and a trough is never rounded to nothing.
        """
        at = _column(np.mod(np.atleast_1d(np.asarray(times, dtype=float)), interval), self.rates)
        terms = self.weights * np.exp(-self.rates * at[:, None])
        left = np.sum(terms / np.expm1(self.rates * interval), axis=1)
        return np.asarray(np.sum(terms, axis=1) + left, dtype=float)

    @property
    def area(self) -> FloatArray:
        """The integral over all time, shape ``(*subjects,)``, uM h."""
        return np.asarray(np.sum(self.weights / self.rates, axis=0), dtype=float)

    def area_until(self, times: npt.ArrayLike) -> FloatArray:
        """The integral from the dose to each time, 0 for times before it; shape ``(n_times, *subjects)``."""
        at = np.maximum(_column(times, self.rates), 0.0)
        return np.asarray(np.sum(self.weights * -np.expm1(-self.rates * at[:, None]) / self.rates, axis=1), dtype=float)

    def through(self, rate: npt.ArrayLike) -> Exponentials:
        """The same seen through a first-order exchange: ``y' = rate (x - y)``, y(0) = 0.

        Raises:
            InputError: the rate is that of one of the terms, where the sum of exponentials breaks down.
        """
        exchange = np.broadcast_to(np.asarray(rate, dtype=float), self.rates.shape[1:])
        _distinct("rate of exchange", exchange, self.rates)
        weights = self.weights * exchange / (exchange - self.rates)
        return Exponentials(
            np.concatenate((weights, -np.sum(weights, axis=0, keepdims=True))),
            np.concatenate((self.rates, exchange[None])),
        )


@dataclass(frozen=True)
class OralDosing:
    """The same dose again and again.  Fields may be arrays that broadcast."""

    rise: npt.ArrayLike  # uM: available dose over volume of distribution, F D / V
    absorption: npt.ArrayLike  # 1/h
    elimination: npt.ArrayLike  # 1/h
    interval: float  # h
    unbound_fraction: npt.ArrayLike = 1.0

    def __post_init__(self) -> None:
        for name in ("rise", "absorption", "elimination", "interval"):
            value = np.asarray(getattr(self, name), dtype=float)
            if not (np.all(np.isfinite(value)) and np.all(value > 0.0)):
                raise InputError(f"{name} of an oral dose must be positive and finite, got {getattr(self, name)!r}")
        fraction = np.asarray(self.unbound_fraction, dtype=float)
        if not np.all((fraction > 0.0) & (fraction <= 1.0)):
            raise InputError(f"an unbound fraction needs 0 < value <= 1, got {self.unbound_fraction!r}")
        _distinct(
            "absorption", np.asarray(self.absorption, dtype=float), np.asarray(self.elimination, dtype=float)[None]
        )

    @classmethod
    def from_clearance(
        cls,
        dose: npt.ArrayLike,
        *,
        molar_mass: float,
        clearance: npt.ArrayLike,
        volume: npt.ArrayLike,
        absorption: npt.ArrayLike,
        interval: float,
        unbound_fraction: npt.ArrayLike = 1.0,
    ) -> OralDosing:
        """From mg, g/mol, apparent clearance CL/F (l/h) and apparent volume V/F (l), as they are reported."""
        rise = np.asarray(dose, dtype=float) / molar_mass * 1e3 / np.asarray(volume, dtype=float)  # mg / (g/mol) = mmol
        elimination = np.asarray(clearance, dtype=float) / np.asarray(volume, dtype=float)
        return cls(rise, absorption, elimination, interval, unbound_fraction)

    @classmethod
    def from_peak(
        cls,
        peak: npt.ArrayLike,
        *,
        half_life: npt.ArrayLike,
        absorption: npt.ArrayLike,
        interval: float,
        unbound_fraction: npt.ArrayLike = 1.0,
    ) -> OralDosing:
        """From the highest concentration after one dose (uM) and the half-life (h)."""
        elimination = np.log(2.0) / np.asarray(half_life, dtype=float)
        unit = cls(1.0, absorption, elimination, interval, unbound_fraction)
        return replace(unit, rise=np.asarray(peak, dtype=float) / unit.peak_of_one)

    @property
    def one(self) -> Exponentials:
        """Total plasma concentration after one dose: Bateman's equation."""
        fields = (self.rise, self.absorption, self.elimination, self.unbound_fraction)
        rise, ka, ke, _ = np.broadcast_arrays(*(np.asarray(value, dtype=float) for value in fields))
        weight = rise * ka / (ka - ke)
        return Exponentials(np.stack((weight, -weight)), np.stack((ke, ka)))

    @property
    def peak_of_one(self) -> FloatArray:
        """The highest concentration after one dose, at ln(ka/ke)/(ka - ke)."""
        ka, ke = np.asarray(self.absorption, dtype=float), np.asarray(self.elimination, dtype=float)
        at = np.log(ka / ke) / (ka - ke)
        rise = np.asarray(self.rise, dtype=float)
        return np.asarray(rise * ka / (ka - ke) * (np.exp(-ke * at) - np.exp(-ka * at)), dtype=float)

    @property
    def average(self) -> FloatArray:
        """Total plasma concentration averaged over an interval of the periodic state: F D / (CL tau), uM."""
        return self.one.area / self.interval

    @property
    def unbound_average(self) -> FloatArray:
        """The same, unbound."""
        return np.asarray(self.average * np.asarray(self.unbound_fraction, dtype=float), dtype=float)

    def unbound(self, times: npt.ArrayLike) -> FloatArray:
        """Unbound in plasma, periodic state, at times since a dose (h); ``(n_times, *subjects)``, uM."""
        fraction = np.asarray(self.unbound_fraction, dtype=float)
        return np.asarray(fraction * self.one.periodic(times, self.interval), dtype=float)

    def unbound_in_cells(self, times: npt.ArrayLike, exchange: float) -> FloatArray:
        """The same in cells that exchange with plasma at a first-order rate (1/h), without pumps."""
        fraction = np.asarray(self.unbound_fraction, dtype=float)
        return np.asarray(fraction * self.one.through(exchange).periodic(times, self.interval), dtype=float)

    def held(self, target: str, *, doses: int, pieces: int) -> Experiment:
        """An experiment that sets ``target`` to the unbound plasma concentration piece by piece, from the first dose.

        Each piece holds the average over its time, so that the area under the curve is that of the closed form
        whatever the number of ``pieces`` per interval.

        Raises:
            InputError: there are several subjects, or a number below 1.
        """
        if doses < 1 or pieces < 1:
            raise InputError(f"doses and pieces per interval must be at least 1, got {doses} and {pieces}")
        one = self.one
        if one.rates.ndim > 1 or np.ndim(self.unbound_fraction):
            raise InputError("an experiment has one subject; rise, rates and unbound fraction must be plain numbers")
        edges = np.arange(doses * pieces + 1) * (self.interval / pieces)
        areas = np.sum([one.area_until(edges - k * self.interval) for k in range(doses)], axis=0)
        means = float(np.asarray(self.unbound_fraction)) * np.diff(areas) / np.diff(edges)
        return Experiment(
            [
                Period(Quantity(float(start), "h"), {target: Quantity(float(mean), "uM")})
                for start, mean in zip(edges[:-1], means, strict=True)
            ]
        )


def _column(times: npt.ArrayLike, rates: FloatArray) -> FloatArray:
    """Times along the first axis, with as many axes as there are of subjects."""
    at = np.atleast_1d(np.asarray(times, dtype=float))
    return at.reshape(at.shape + (1,) * (rates.ndim - 1))


def _distinct(name: str, value: FloatArray, others: FloatArray) -> None:
    if np.any(np.abs(value - others) <= _APART * np.abs(others)):
        raise InputError(f"{name} equals another rate of the course, got {value!r}; move it by one part in 1e5")


# ---- the bundled regimens ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sourced:
    """A number with where it comes from; ``range`` is None where it is taken as fixed."""

    value: float
    unit: str
    label: str
    source: str
    range: tuple[float, float] | None = None


@functools.cache
def regimens() -> Mapping[str, Mapping[str, Sourced]]:
    """The numbers of every bundled regimen, by name.

    Raises:
        InvalidModel: the bundled table is damaged.
    """
    text = resources.files("sbml").joinpath("pharmacokinetics.toml").read_text(encoding="utf-8")
    return MappingProxyType({name: _regimen(name, row) for name, row in tomllib.loads(text).items()})


def _regimen(name: str, row: Mapping[str, Any]) -> Mapping[str, Sourced]:
    found = {}
    for key, item in row.items():
        if key == "title":
            continue
        if item["label"] not in LABELS:
            raise InvalidModel(f"pharmacokinetics.toml, {name}.{key}: label {item['label']!r} is not one of {LABELS}")
        bounds = item.get("range")
        found[key] = Sourced(
            float(item["value"]), item["unit"], item["label"], item["source"], tuple(bounds) if bounds else None
        )
    return MappingProxyType(found)


def bundled(name: str, **changes: npt.ArrayLike) -> OralDosing:
    """A bundled regimen, ``"human"`` or ``"mouse"``; ``changes`` replace its numbers, by name and in their units.

    Raises:
        UnknownName: there is no such regimen, or it has no such number.
    """
    if name not in regimens():
        raise UnknownName("regimen", name, regimens(), "the table of pharmacokinetics")
    numbers = regimens()[name]
    for key in changes:
        if key not in numbers:
            raise UnknownName("number", key, numbers, f"the regimen {name!r}")
    given: dict[str, Any] = {key: changes.get(key, item.value) for key, item in numbers.items()}
    if "peak" in given:
        return OralDosing.from_peak(given.pop("peak"), **given)
    return OralDosing.from_clearance(given.pop("dose"), **given)
