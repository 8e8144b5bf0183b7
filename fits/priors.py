"""Prior distributions of parameters: the families of PEtab, their densities, slopes and samples.

Densities are those of PEtab v2: truncated (and normalised again) between ``lower`` and ``upper``.
"""

from __future__ import annotations

import difflib
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from kinetics.errors import InputError

FloatArray = npt.NDArray[np.float64]

LN10 = math.log(10.0)


@dataclass(frozen=True)
class _Family:
    """A distribution of z; of ln(value) for families that start with ``log-``."""

    arguments: tuple[str, ...]
    positive: int  # this many arguments, counted from the end, must be > 0
    log_density: Callable[..., float]  # (z, *arguments)
    slope: Callable[..., float]  # d(log density)/dz
    below: Callable[..., float]  # probability of a smaller z
    above: Callable[..., float]  # probability of a larger z, exact in the upper tail where 1 - below is not
    quantile: Callable[..., FloatArray]  # of a probability below
    upper_quantile: Callable[..., FloatArray]  # of a probability above
    domain: Callable[..., tuple[float, float]] = lambda *_: (-math.inf, math.inf)


def _half_line(*_: float) -> tuple[float, float]:
    return 0.0, math.inf


# --- normal, Laplace, Cauchy ---------------------------------------------------------------------------------


def _normal() -> _Family:
    from scipy.special import ndtr, ndtri

    return _Family(
        ("mean", "standard deviation"),
        1,
        lambda z, m, s: -0.5 * ((z - m) / s) ** 2 - math.log(s) - 0.5 * math.log(2.0 * math.pi),
        lambda z, m, s: (m - z) / s**2,
        lambda z, m, s: float(ndtr((z - m) / s)),
        lambda z, m, s: float(ndtr((m - z) / s)),
        lambda p, m, s: m + s * ndtri(p),
        lambda q, m, s: m - s * ndtri(q),
    )


def _laplace_below(t: float) -> float:
    return 0.5 * math.exp(t) if t < 0.0 else 1.0 - 0.5 * math.exp(-t)


def _laplace_quantile(p: FloatArray) -> FloatArray:
    with np.errstate(divide="ignore"):
        return np.asarray(np.where(p < 0.5, np.log(2.0 * p), -np.log(2.0 * (1.0 - p))))


def _laplace() -> _Family:
    return _Family(
        ("location", "scale"),
        1,
        lambda z, m, s: -abs(z - m) / s - math.log(2.0 * s),
        lambda z, m, s: float(np.sign(m - z)) / s,
        lambda z, m, s: _laplace_below((z - m) / s),
        lambda z, m, s: _laplace_below((m - z) / s),
        lambda p, m, s: m + s * _laplace_quantile(p),
        lambda q, m, s: m - s * _laplace_quantile(q),
    )


def _cauchy_below(t: float) -> float:
    # for t << 0 the sum 0.5 + atan(t)/pi would cancel
    return math.atan2(1.0, -t) / math.pi


def _cauchy() -> _Family:
    return _Family(
        ("location", "scale"),
        1,
        lambda z, m, s: -math.log(math.pi * s) - math.log1p(((z - m) / s) ** 2),
        lambda z, m, s: -2.0 * (z - m) / (s**2 + (z - m) ** 2),
        lambda z, m, s: _cauchy_below((z - m) / s),
        lambda z, m, s: _cauchy_below((m - z) / s),
        lambda p, m, s: m - s / np.tan(np.pi * p),
        lambda q, m, s: m + s / np.tan(np.pi * q),
    )


# --- gamma and its relatives, Rayleigh, uniform --------------------------------------------------------------


def _gamma() -> _Family:
    from scipy.special import gammainc, gammaincc, gammainccinv, gammaincinv

    def log_density(z: float, a: float, s: float) -> float:
        if z == 0.0:
            return -math.lgamma(a) - math.log(s) if a == 1.0 else math.copysign(math.inf, 1.0 - a)
        return (a - 1.0) * math.log(z) - z / s - math.lgamma(a) - a * math.log(s)

    return _Family(
        ("shape", "scale"),
        2,
        log_density,
        lambda z, a, s: ((a - 1.0) / z if z > 0.0 else math.copysign(math.inf, a - 1.0) if a != 1.0 else 0.0) - 1.0 / s,
        lambda z, a, s: float(gammainc(a, max(z, 0.0) / s)),
        lambda z, a, s: float(gammaincc(a, max(z, 0.0) / s)),
        lambda p, a, s: s * gammaincinv(a, p),
        lambda q, a, s: s * gammainccinv(a, q),
        _half_line,
    )


def _of_gamma(argument: str, translate: Callable[[float], tuple[float, float]]) -> _Family:
    """A gamma distribution with one argument of its own."""
    gamma = _gamma()
    return _Family(
        (argument,),
        1,
        lambda z, a: gamma.log_density(z, *translate(a)),
        lambda z, a: gamma.slope(z, *translate(a)),
        lambda z, a: gamma.below(z, *translate(a)),
        lambda z, a: gamma.above(z, *translate(a)),
        lambda p, a: gamma.quantile(p, *translate(a)),
        lambda q, a: gamma.upper_quantile(q, *translate(a)),
        _half_line,
    )


def _rayleigh() -> _Family:
    return _Family(
        ("scale",),
        1,
        lambda z, s: (math.log(z) if z > 0.0 else -math.inf) - 2.0 * math.log(s) - 0.5 * (z / s) ** 2,
        lambda z, s: (1.0 / z if z > 0.0 else math.inf) - z / s**2,
        lambda z, s: -math.expm1(-0.5 * (max(z, 0.0) / s) ** 2),
        lambda z, s: math.exp(-0.5 * (max(z, 0.0) / s) ** 2),
        lambda p, s: s * np.sqrt(-2.0 * np.log1p(-p)),
        lambda q, s: s * np.sqrt(-2.0 * np.log(q)),
        _half_line,
    )


def _uniform() -> _Family:
    return _Family(
        ("lower bound", "upper bound"),
        0,
        lambda z, a, b: -math.log(b - a),
        lambda z, a, b: 0.0,
        lambda z, a, b: min(max((z - a) / (b - a), 0.0), 1.0),
        lambda z, a, b: min(max((b - z) / (b - a), 0.0), 1.0),
        lambda p, a, b: a + (b - a) * p,
        lambda q, a, b: b - (b - a) * q,
        lambda a, b: (a, b),
    )


_MAKERS: dict[str, Callable[[], _Family]] = {
    "cauchy": _cauchy,
    "chisquare": lambda: _of_gamma("degrees of freedom", lambda nu: (0.5 * nu, 2.0)),
    "exponential": lambda: _of_gamma("scale", lambda s: (1.0, s)),
    "gamma": _gamma,
    "laplace": _laplace,
    "log-laplace": _laplace,
    "log-normal": _normal,
    "log-uniform": _uniform,
    "normal": _normal,
    "rayleigh": _rayleigh,
    "uniform": _uniform,
}
FAMILIES = tuple(_MAKERS)


@functools.lru_cache(maxsize=len(_MAKERS))
def _family(name: str) -> _Family:
    return _MAKERS[name]()  # made when first needed: scipy.special takes a moment to import


def arguments_of(family: str) -> tuple[str, ...]:
    """What the parameters of a family mean, in order: ``("mean", "standard deviation")``."""
    if family not in _MAKERS:
        near = difflib.get_close_matches(family, FAMILIES, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InputError(f"no prior distribution {family!r}{hint}; there are {', '.join(FAMILIES)}")
    return _family(family).arguments


# --- the prior -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Prior:
    """A prior distribution of one parameter.

    Attributes:
        family: one of `FAMILIES`.
        parameters: as `arguments_of` names them; of the ``log-`` families those of ln(value), except that
            ``log-uniform`` takes the bounds of the value itself.
        scale: ``"log"`` or ``"log10"``: the density is that of the transformed value, and its parameters are on
            that scale (PEtab v1's ``parameterScaleNormal`` and its like).
        lower, upper: plain values where the distribution is cut off and normalised again.

    >>> round(Prior("normal", (4.0, 2.0)).log_density(5.0), 6)
    -1.737086
    """

    family: str
    parameters: tuple[float, ...]
    scale: Literal["lin", "log", "log10"] = "lin"
    lower: float = -math.inf
    upper: float = math.inf

    def __post_init__(self) -> None:
        names = arguments_of(self.family)
        what = f"a {self.family} prior"
        if self.scale not in ("lin", "log", "log10"):
            raise InputError(f"the scale of {what} is lin, log or log10, got {self.scale!r}")
        if self.scale != "lin" and self.family.startswith("log-"):
            raise InputError(f"{what} is stated for the value itself, so its scale must be lin, got {self.scale!r}")
        if len(self.parameters) != len(names):
            raise InputError(f"{what} takes {len(names)} ({'; '.join(names)}), got {len(self.parameters)} parameters")
        if not all(math.isfinite(number) for number in self.parameters):
            raise InputError(f"the parameters of {what} must be finite, got {self._shown()}")
        positive = _family(self.family).positive
        for name, number in list(zip(names, self.parameters, strict=True))[len(names) - positive :]:
            if number <= 0.0:
                raise InputError(f"the {name} of {what} must be positive, got {number:g}")
        if self.family.endswith("uniform"):
            low, high = self.parameters
            if not low < high or (self.family == "log-uniform" and low <= 0.0):
                least = "0 < " if self.family == "log-uniform" else ""
                raise InputError(f"{what} needs {least}lower < upper, got {self._shown()}")
        if math.isnan(self.lower) or math.isnan(self.upper) or not self.lower < self.upper:
            raise InputError(f"{what} is cut off at lower < upper, got {self.lower:g}, {self.upper:g}")
        if not self.mass > 0.0:
            raise InputError(
                f"{what} with {self._shown()} has no probability between its bounds {self.lower:g} and {self.upper:g}"
            )

    def _shown(self) -> str:
        return "; ".join(f"{number:g}" for number in self.parameters)

    # z: the variable of the family's density

    @property
    def _logarithmic(self) -> bool:
        return self.family.startswith("log-") or self.scale != "lin"

    def _z(self, value: float) -> float:
        if not self._logarithmic:
            return value
        if value <= 0.0:
            return -math.inf
        return math.log10(value) if self.scale == "log10" else math.log(value)

    @functools.cached_property
    def _arguments(self) -> tuple[float, ...]:
        if self.family == "log-uniform":
            return tuple(math.log(number) for number in self.parameters)
        return self.parameters

    @functools.cached_property
    def _limits(self) -> tuple[float, float]:
        """Where the density is not zero, as z."""
        low, high = _family(self.family).domain(*self._arguments)
        return max(low, self._z(self.lower)), min(high, self._z(self.upper))

    @functools.cached_property
    def mass(self) -> float:
        """The probability between the bounds before normalisation."""
        low, high = self._limits
        if not low < high:
            return 0.0
        family, arguments = _family(self.family), self._arguments
        below, above = family.below(low, *arguments), family.above(high, *arguments)
        if below > 0.5:  # both in the upper tail, where `below` has lost its digits
            return family.above(low, *arguments) - above
        return family.below(high, *arguments) - below if above > 0.5 else 1.0 - below - above

    @property
    def bounds(self) -> tuple[float, float]:
        """Plain values between which the density is not zero."""
        low, high = _family(self.family).domain(*self._arguments)
        if self.family == "log-uniform":
            low, high = self.parameters
        elif self._logarithmic:
            low, high = (_raised(bound, self.scale) for bound in (low, high))
        return max(low, self.lower), min(high, self.upper)

    def log_density(self, value: float) -> float:
        """Natural logarithm of the density at a plain value; ``-inf`` outside the bounds."""
        z = self._z(value)
        low, high = self._limits
        if math.isnan(value) or not low <= z <= high or not self.lower <= value <= self.upper:
            return -math.inf
        if math.isinf(z):
            return -math.inf
        density = _family(self.family).log_density(z, *self._arguments) - math.log(self.mass)
        return density - z if self.family.startswith("log-") else density

    def slope(self, value: float) -> float:
        """d(log density)/d(value) at a plain value; 0 where the density is zero."""
        z = self._z(value)
        low, high = self._limits
        if math.isnan(value) or math.isinf(z) or not low <= z <= high:
            return 0.0
        slope = _family(self.family).slope(z, *self._arguments)
        if self.family.startswith("log-"):
            return (slope - 1.0) / value
        if self.scale == "lin":
            return slope
        return slope / (value * (LN10 if self.scale == "log10" else 1.0))

    def sample(self, rng: np.random.Generator, size: int) -> FloatArray:
        """Plain values drawn from it, shape ``(size,)``."""
        family, arguments = _family(self.family), self._arguments
        low, high = self._limits
        draws = rng.random(size)
        below, above = family.below(low, *arguments), family.above(high, *arguments)
        if below > 0.5:
            z = family.upper_quantile(above + draws * self.mass, *arguments)
        else:
            z = family.quantile(below + draws * self.mass, *arguments)
        z = np.clip(np.asarray(z, dtype=np.float64), low, high)
        if not self._logarithmic:
            return z
        return np.clip(np.power(10.0, z) if self.scale == "log10" else np.exp(z), max(self.lower, 0.0), self.upper)


def _raised(z: float, scale: str) -> float:
    try:
        return 10.0**z if scale == "log10" else math.exp(z)
    except OverflowError:
        return math.inf
