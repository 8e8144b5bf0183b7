"""Shapes of a dose-response curve, each with its exact derivatives.

With d the dose, m = log10 EC50, h the Hill slope and H(d) = 1 / (1 + (EC50/d)^h)::

    3pl, 4pl   E = bottom + (top - bottom) H(d)                                    3pl: h = 1
    5pl        E = low + (high - low) (1 + k u)^(-s),  k = 2^(1/s) - 1,  u = (EC50/d)^h for a rising, (d/EC50)^h for a
               falling curve; low and high are the smaller and the larger of bottom and top
    biphasic   E = bottom + (middle - bottom) H1(d) + (top - middle) H2(d), EC50_2 = EC50 10^gap

``bottom`` is the response at dose 0 and ``top`` that at infinite dose, whichever is larger, as in
`kinetics.curves.hill`; h is positive.  The factor k makes EC50 the dose of half the effect also where the curve is
not symmetric (the 5pl is the log-logistic of Finney 1979 and Ritz et al. 2015, doi:10.1371/journal.pone.0146021, in
other parameters).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from kinetics.errors import UnknownName

FloatArray = npt.NDArray[np.float64]
Mean = Callable[[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]

LN10 = math.log(10.0)
SLOPES = (0.1, 20.0)  # Hill slopes beyond these are a line and a step
SKEWS = (0.05, 20.0)  # of the 5pl
GAPS = (0.3, 8.0)  # decades between the phases of a biphasic curve: closer than twofold they are one


class Kind(Enum):
    """What a parameter of a curve is, which decides its bounds and how it is told."""

    RESPONSE = "response"
    LOG_DOSE = "log10 of a dose"
    LOG_SLOPE = "natural log of a slope"
    LOG_SKEW = "natural log of a skewness"
    GAP = "decades"


@dataclass(frozen=True)
class Form:
    """A shape: its parameters in order, and its mean with derivatives."""

    name: str
    parameters: tuple[str, ...]
    kinds: tuple[Kind, ...]
    mean: Mean = field(repr=False)  # doses (n,) and parameters (p,) to responses (n,) and derivatives (n, p)
    fixed: Mapping[str, float] = field(default_factory=dict)  # unless told otherwise

    @property
    def free(self) -> tuple[str, ...]:
        return tuple(name for name in self.parameters if name not in self.fixed)

    def index(self, name: str) -> int:
        """The place of a parameter.

        Raises:
            UnknownName: the shape has no such parameter.
        """
        if name not in self.parameters:
            raise UnknownName("parameter", name, self.parameters, f"a {self.name} curve")
        return self.parameters.index(name)


def sigmoid(doses: FloatArray, log_ec50: float, log_hill: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """H and its derivatives by log10 EC50 and ln h, ``(n,)`` each; 0 at dose 0."""
    z = _steps(doses, log_ec50, log_hill)
    value = expit(z)
    slope = value * expit(-z)  # not 1 - value, which loses all digits where value is near 1
    with np.errstate(invalid="ignore"):
        by_hill = np.where(slope > 0.0, z * slope, 0.0)
    return value, -LN10 * math.exp(log_hill) * slope, by_hill


def _steps(doses: FloatArray, log_ec50: float, log_hill: float) -> FloatArray:
    """h ln(d / EC50); -inf at dose 0."""
    with np.errstate(divide="ignore"):
        return np.asarray(math.exp(log_hill) * (np.log(doses) - LN10 * log_ec50), dtype=float)


def _four(doses: FloatArray, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
    bottom, top, log_ec50, log_hill = theta
    effect, by_ec50, by_hill = sigmoid(doses, log_ec50, log_hill)
    span = top - bottom
    return bottom + span * effect, np.stack([1.0 - effect, effect, span * by_ec50, span * by_hill], axis=1)


def _five(doses: FloatArray, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
    bottom, top, log_ec50, log_hill, log_skew = theta
    hill, skew, span = math.exp(log_hill), math.exp(log_skew), top - bottom
    sign = 1.0 if span >= 0.0 else -1.0  # the power belongs to the side of the higher plateau
    z = _steps(doses, log_ec50, log_hill)
    log_k = math.log(math.expm1(math.log(2.0) / skew))
    inner = log_k - sign * z  # ln(k u)
    power = np.exp(-skew * np.logaddexp(0.0, inner))
    share = expit(inner)
    with np.errstate(invalid="ignore", over="ignore"):
        by_z = np.where(power > 0.0, sign * skew * power * share, 0.0)
        by_hill = np.where(by_z != 0.0, z * by_z, 0.0)
        # d ln k / d s = -2^(1/s) ln 2 / (s^2 k)
        of_k = -math.exp(math.log(2.0) / skew - log_k) * math.log(2.0) / skew**2
        by_skew = np.where(power > 0.0, -power * (np.logaddexp(0.0, inner) + skew * of_k * share), 0.0)
    effect = power if sign > 0 else 1.0 - power
    by_z, by_hill, by_skew = sign * by_z, sign * by_hill, sign * skew * by_skew
    jacobian = [1.0 - effect, effect, -span * LN10 * hill * by_z, span * by_hill, span * by_skew]
    return bottom + span * effect, np.stack(jacobian, axis=1)


def _two_phases(doses: FloatArray, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
    bottom, middle, top, log_ec50, gap, log_hill, log_hill_2 = theta
    one, one_ec50, one_hill = sigmoid(doses, log_ec50, log_hill)
    two, two_ec50, two_hill = sigmoid(doses, log_ec50 + gap, log_hill_2)
    first, second = middle - bottom, top - middle
    jacobian = [
        1.0 - one, one - two, two, first * one_ec50 + second * two_ec50, second * two_ec50,
        first * one_hill, second * two_hill,
    ]  # fmt: skip
    return bottom + first * one + second * two, np.stack(jacobian, axis=1)


_FOUR = ("bottom", "top", "log_ec50", "log_hill")
_KINDS = (Kind.RESPONSE, Kind.RESPONSE, Kind.LOG_DOSE, Kind.LOG_SLOPE)
_TWO = ("bottom", "middle", "top", "log_ec50", "gap", "log_hill", "log_hill_2")
_TWO_KINDS = (*(Kind.RESPONSE,) * 3, Kind.LOG_DOSE, Kind.GAP, Kind.LOG_SLOPE, Kind.LOG_SLOPE)

FORMS = {
    form.name: form
    for form in (
        Form("3pl", _FOUR, _KINDS, _four, {"log_hill": 0.0}),
        Form("4pl", _FOUR, _KINDS, _four),
        Form("5pl", (*_FOUR, "log_skew"), (*_KINDS, Kind.LOG_SKEW), _five),
        Form("biphasic", _TWO, _TWO_KINDS, _two_phases, {"log_hill": 0.0, "log_hill_2": 0.0}),
    )
}


def form_named(name: str | Form) -> Form:
    """A shape by name: ``3pl``, ``4pl``, ``5pl`` or ``biphasic``.

    Raises:
        UnknownName: there is none of that name.
    """
    if isinstance(name, Form):
        return name
    if name not in FORMS:
        raise UnknownName("shape", name, FORMS, "the dose-response curves")
    return FORMS[name]
