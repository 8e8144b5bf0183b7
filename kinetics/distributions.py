"""Distributions that virtual donors and samples are drawn from, in frozen data.

Each turns a fixed number of uniform random numbers into values, by its inverse distribution function: so truncation
rejects nothing, and what one sample is does not depend on how many there are.

>>> LogNormal(19163.0, 0.3).values("IL7R_number", [0.5])
{'IL7R_number': 19163.0}
"""

from __future__ import annotations

import abc
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

import numpy as np

from kinetics.errors import InputError

ROUNDING = 1e-9  # what probabilities may miss 1 by


@runtime_checkable
class Distribution(Protocol):
    """What can be drawn: ``uniforms`` random numbers in [0, 1) in, values by name out."""

    @property
    def uniforms(self) -> int:
        """How many random numbers one draw takes."""
        ...

    def sets(self, name: str) -> tuple[str, ...]:
        """The quantities of the model that a draw under this name gives values to."""
        ...

    def values(self, name: str, uniforms: Sequence[float]) -> dict[str, float]:
        """A draw: values of quantities, by name."""
        ...


@dataclass(frozen=True)
class _One(abc.ABC):
    """One random number, one quantity: that under whose name the distribution stands."""

    @property
    def uniforms(self) -> int:
        return 1

    def sets(self, name: str) -> tuple[str, ...]:
        return (name,)

    def values(self, name: str, uniforms: Sequence[float]) -> dict[str, float]:
        return {name: self.quantile(float(uniforms[0]))}

    @abc.abstractmethod
    def quantile(self, share: float) -> float:
        """The value below which this share of the draws lies."""


def _finite(what: str, **numbers: float) -> None:
    for name, number in numbers.items():
        if not math.isfinite(number):
            raise InputError(f"{name} of {what} must be finite, got {number}")


def _between(share: float, lower: float, upper: float) -> float:
    """The quantile of the standard normal cut to ``[lower, upper]``."""
    from scipy.special import ndtr, ndtri

    if lower > 0.0:  # in the upper tail the distribution function is 1 to rounding; its mirror image is exact
        return -_between(1.0 - share, -upper, -lower)
    low, high = float(ndtr(lower)), float(ndtr(upper))
    return min(max(float(ndtri(low + share * (high - low))), lower), upper)


def _check_limits(what: str, sd: float, lower: float, upper: float) -> None:
    if not (math.isfinite(sd) and sd >= 0.0):
        raise InputError(f"sd of {what} must be finite and not negative, got {sd}")
    if not lower < upper:
        raise InputError(f"limits of {what} need lower < upper, got {lower}, {upper}")


@dataclass(frozen=True)
class Normal(_One):
    """A normal distribution, cut off at ``lower`` and ``upper``; for what may be negative, or never comes near 0."""

    mean: float
    sd: float
    lower: float = -math.inf
    upper: float = math.inf

    def __post_init__(self) -> None:
        _finite("Normal", mean=self.mean)
        _check_limits("Normal", self.sd, self.lower, self.upper)
        if self.sd == 0.0 and not self.lower <= self.mean <= self.upper:
            raise InputError(f"a Normal without spread needs its mean within the limits, got {self.mean}")

    def quantile(self, share: float) -> float:
        if self.sd == 0.0:
            return self.mean
        limits = ((limit - self.mean) / self.sd for limit in (self.lower, self.upper))
        return min(max(self.mean + self.sd * _between(share, *limits), self.lower), self.upper)


@dataclass(frozen=True)
class LogNormal(_One):
    """Log-normal: ``sd`` is the standard deviation of the natural logarithm; positive, cut off at the limits."""

    median: float
    sd: float
    lower: float = 0.0
    upper: float = math.inf

    def __post_init__(self) -> None:
        if not (math.isfinite(self.median) and self.median > 0.0):
            raise InputError(f"median of LogNormal must be finite and positive, got {self.median}")
        if self.lower < 0.0:
            raise InputError(f"lower limit of LogNormal must not be negative, got {self.lower}")
        _check_limits("LogNormal", self.sd, self.lower, self.upper)
        if self.sd == 0.0 and not self.lower <= self.median <= self.upper:
            raise InputError(f"a LogNormal without spread needs its median within the limits, got {self.median}")

    def quantile(self, share: float) -> float:
        if self.sd == 0.0:
            return self.median
        below, above = (math.log(limit) if limit > 0.0 else -math.inf for limit in (self.lower, self.upper))
        centre = math.log(self.median)
        z = _between(share, (below - centre) / self.sd, (above - centre) / self.sd)
        return min(max(self.median * math.exp(self.sd * z), self.lower), self.upper)


@dataclass(frozen=True)
class Uniform(_One):
    """Equally likely anywhere from ``lower`` to ``upper``."""

    lower: float
    upper: float

    def __post_init__(self) -> None:
        _finite("Uniform", lower=self.lower, upper=self.upper)
        if not self.lower < self.upper:
            raise InputError(f"a Uniform needs lower < upper, got {self.lower}, {self.upper}")

    def quantile(self, share: float) -> float:
        return self.lower + share * (self.upper - self.lower)


@dataclass(frozen=True)
class Bernoulli(_One):
    """``yes`` with probability ``p``, else ``no``: a mutation flag."""

    p: float
    yes: float = 1.0
    no: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.p <= 1.0:
            raise InputError(f"p of Bernoulli must lie in [0, 1], got {self.p}")
        _finite("Bernoulli", yes=self.yes, no=self.no)

    def quantile(self, share: float) -> float:
        return self.yes if share < self.p else self.no


@dataclass(frozen=True)
class Categorical:
    """One of several classes, each with values of its own; what a class does not set, it leaves to ``otherwise``.

    Args:
        shares: probability by class; they sum to 1.
        settings: class -> values by name of the quantity; a class that is not mentioned sets nothing.
        otherwise: values of those quantities in the other classes; 0 where not given, as for flags.
    """

    shares: Mapping[str, float]
    settings: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    otherwise: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.shares or any(not 0.0 <= share <= 1.0 for share in self.shares.values()):
            raise InputError(f"shares of Categorical must lie in [0, 1], got {dict(self.shares)}")
        if abs(math.fsum(self.shares.values()) - 1.0) > ROUNDING:
            raise InputError(f"shares of Categorical must sum to 1, got {math.fsum(self.shares.values()):.12g}")
        for name in self.settings:
            if name not in self.shares:
                raise InputError(f"Categorical sets values for the class {name!r}, which has no share")
        frozen = {name: MappingProxyType(dict(values)) for name, values in self.settings.items()}
        object.__setattr__(self, "shares", MappingProxyType(dict(self.shares)))
        object.__setattr__(self, "settings", MappingProxyType(frozen))
        object.__setattr__(self, "otherwise", MappingProxyType(dict(self.otherwise)))

    @property
    def uniforms(self) -> int:
        return 1

    def sets(self, name: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(target for values in self.settings.values() for target in values))

    def chosen(self, uniforms: Sequence[float]) -> str:
        """The class of a draw."""
        reached = 0.0
        for name, share in self.shares.items():
            reached += share
            if float(uniforms[0]) < reached:
                return name
        return [name for name, share in self.shares.items() if share > 0.0][-1]  # shares sum to 1 but for rounding

    def values(self, name: str, uniforms: Sequence[float]) -> dict[str, float]:
        own = self.settings.get(self.chosen(uniforms), {})
        return {target: float(own.get(target, self.otherwise.get(target, 0.0))) for target in self.sets(name)}

    def __reduce__(self) -> tuple[Any, ...]:  # a mapping proxy cannot be pickled, workers need it
        settings = {name: dict(values) for name, values in self.settings.items()}
        return (Categorical, (dict(self.shares), settings, dict(self.otherwise)))


@dataclass(frozen=True)
class Correlated:
    """Several quantities that vary together: each as its own distribution says, ranks tied by a Gaussian copula.

    Args:
        of: distributions of one quantity each, by its name.
        correlation: of the underlying normal scores, symmetric with ones on the diagonal, in the order of ``of``.
    """

    of: Mapping[str, Normal | LogNormal | Uniform | Bernoulli]
    correlation: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        matrix = np.asarray(self.correlation, dtype=float)
        size = len(self.of)
        if matrix.shape != (size, size):
            raise InputError(f"correlation of {size} quantities must be {size} x {size}, got {matrix.shape}")
        if not (np.array_equal(matrix, matrix.T) and np.all(np.diag(matrix) == 1.0)):
            raise InputError("correlation must be symmetric with ones on the diagonal")
        if float(np.linalg.eigvalsh(matrix)[0]) < 1e-12:
            raise InputError("correlation must be positive definite: no such quantities can exist, or one is redundant")
        object.__setattr__(self, "of", MappingProxyType(dict(self.of)))
        object.__setattr__(self, "correlation", tuple(tuple(row) for row in matrix.tolist()))

    @property
    def uniforms(self) -> int:
        return len(self.of)

    def sets(self, name: str) -> tuple[str, ...]:
        return tuple(self.of)

    def values(self, name: str, uniforms: Sequence[float]) -> dict[str, float]:
        from scipy.special import ndtr, ndtri

        scores = np.linalg.cholesky(np.asarray(self.correlation)) @ ndtri(np.asarray(uniforms, dtype=float))
        shares = zip(self.of.items(), ndtr(scores), strict=True)
        return {target: one.quantile(float(share)) for (target, one), share in shares}

    def __reduce__(self) -> tuple[Any, ...]:
        return (Correlated, (dict(self.of), self.correlation))
