"""The virtual panel of 11 primary samples, and panels drawn from the same frequencies.

``panel.toml`` holds composition, doses, seed and the cut, and was committed before any result was looked at.
A sample is a class of mutation and a level of the anti-apoptotic pool; levels are the mid-points of as many equally
likely strata of a log-normal distribution as the panel has samples, so that any number of panels needs no more
simulations than classes x levels.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from statistics import NormalDist
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from fits.steroid.arms import Arm
from kinetics.errors import UnknownName


@dataclass(frozen=True)
class Sample:
    """A virtual sample: ``kind`` is a class of `Design`, ``level`` counts the strata of the pool from the lowest."""

    kind: str
    level: int


@dataclass(frozen=True)
class Design:
    """What the panel is made of, and what is done to it."""

    seed: int
    sd: float  # of ln(fold_pool) between samples
    levels: tuple[float, ...]  # fold_pool by level
    values: Mapping[str, Mapping[str, float]]  # class -> parameters of its cells
    frequencies: Mapping[str, float]  # class -> share of patients; they add up to 1
    scenarios: Mapping[str, Mapping[str, float]]  # other frequencies, by name
    samples: tuple[Sample, ...]
    drugs: Mapping[str, tuple[str, float]]  # "MEK" -> ("CI1040", 1000.0), nM
    prednisolone: float  # nM
    il7: float  # ng/ml

    def arm(self, sample: Sample) -> Arm:
        """Untreated cells of a sample."""
        return Arm().like(**self.values[sample.kind], fold_pool=self.levels[sample.level])


def pool_levels(sd: float, number: int) -> tuple[float, ...]:
    """Mid-points, in probability, of equally likely strata of a log-normal distribution with median 1."""
    normal = NormalDist(0.0, sd)
    return tuple(float(f"{np.exp(normal.inv_cdf((index + 0.5) / number)):.4f}") for index in range(number))


def representative(frequencies: Mapping[str, float], number: int, seed: int) -> tuple[Sample, ...]:
    """Samples in the proportions of the frequencies (largest remainders), levels dealt by a shuffled deck."""
    exact = {kind: share * number for kind, share in frequencies.items()}
    counts = {kind: int(value) for kind, value in exact.items()}
    by_remainder = sorted(exact, key=lambda kind: (counts[kind] - exact[kind], kind))
    for kind in by_remainder[: number - sum(counts.values())]:
        counts[kind] += 1
    deck = np.random.default_rng(seed).permutation(number).tolist()
    kinds = [kind for kind, count in counts.items() for _ in range(count)]
    return tuple(Sample(kind, level) for kind, level in zip(kinds, deck, strict=True))


@functools.cache
def design() -> Design:
    """The panel as committed in ``panel.toml``."""
    table: dict[str, Any] = tomllib.loads(resources.files("fits.steroid").joinpath("panel.toml").read_text("utf-8"))
    classes, pool = table["classes"], table["pool"]
    return Design(
        table["seed"],
        pool["sd"],
        tuple(pool["levels"]),
        MappingProxyType({kind: row["values"] for kind, row in classes.items()}),
        MappingProxyType({kind: row["frequency"] for kind, row in classes.items()}),
        MappingProxyType({name: row["frequencies"] for name, row in table["scenarios"].items()}),
        tuple(Sample(kind, level) for kind, level in table["samples"]),
        MappingProxyType({name: (row["drug"], row["nM"]) for name, row in table["drugs"].items()}),
        table["prednisolone"]["nM"],
        table["IL7"]["ng_per_ml"],
    )


def random_panels(number: int = 1000, scenario: str = "") -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
    """Panels of as many samples, class and level of each drawn independently.

    Args:
        scenario: the name of other frequencies; ``""`` takes those of the classes.

    Returns:
        The classes, and for every sample (its class, its level) as indices, shape ``(number, samples, 2)``.

    Raises:
        UnknownName: there is no such scenario.
    """
    plan = design()
    if scenario and scenario not in plan.scenarios:
        raise UnknownName("scenario", scenario, tuple(plan.scenarios), "the panel")
    frequencies = plan.scenarios[scenario] if scenario else plan.frequencies
    kinds = tuple(plan.frequencies)
    random = np.random.default_rng([plan.seed, 1])  # the first stream dealt the levels of the panel itself
    shape = (number, len(plan.samples))
    drawn = random.choice(len(kinds), size=shape, p=[frequencies[kind] for kind in kinds])
    return kinds, np.stack([drawn, random.integers(len(plan.levels), size=shape)], axis=-1)
