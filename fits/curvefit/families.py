"""What an inhibitor does to an agonist's curve: mechanisms as formulas of both doses, with exact derivatives.

With A the agonist's dose, B that of the inhibitor, u = B/K and H(A; EC50, h) the Hill curve::

    E = bottom + (top - bottom) e H(A; a EC50, h)

    none             a = 1                          e = 1
    competitive      a = 1 + u                      e = 1              Gaddum (1937)
    schild           a = 1 + u^s                    e = 1              Arunlakshana and Schild (1959)
    uncompetitive    a = 1 / (1 + u)                e = 1 / (1 + u)
    noncompetitive   a = 1                          e = 1 / (1 + u)
    mixed            a = (1 + B/K_c) / (1 + B/K_u)  e = 1 / (1 + B/K_u)
    allosteric       a = (1 + u) / (1 + alpha u)    e = 1              ternary complex: Ehlert (1988), Christopoulos
    (2002)

    receptor loss    E = bottom + (top - bottom) X / (1 + X),  X = (tau / (1 + u) * A / (A + K_A))^n
                     the operational model of Black and Leff (1983) with fewer, or fewer working, receptors

Competitive, non-competitive and uncompetitive inhibition are mixed with K_u infinite, K_c = K_u and K_c infinite.
Receptor loss tends to competitive inhibition as the reserve tau grows; with n = 1 it is, curve by curve, mixed
inhibition with K_c = K and K_u = K (1 + tau), and for small tau non-competitive inhibition: a single agonist cannot
tell these apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from scipy.special import expit

from fits.curvefit.forms import LN10, FloatArray, sigmoid

Effect = tuple[FloatArray, FloatArray, FloatArray, FloatArray]
# inhibitor doses (n,) and own parameters (k,) to log10 a (n,), its derivatives (n, k), e (n,), its derivatives (n, k)
EffectOf = Callable[[FloatArray, FloatArray], Effect]


class Action(Enum):
    """What an inhibitor does, as far as curves of one agonist can say; each member is a sentence."""

    NONE = "The inhibitor changes nothing that these curves show."
    COMPETITIVE = "Competitive (surmountable): the EC50 rises with the inhibitor and Emax stays."
    UNCOMPETITIVE = "Uncompetitive: EC50 and Emax fall together."
    MIXED = "Mixed: EC50 and Emax both change, with two constants."
    INSURMOUNTABLE = (
        "Insurmountable: Emax falls. Non-competitive inhibition and a loss of receptors are the same curve here; only "
        "receptor numbers, or how the effect depends on the inhibitor's dose, tell them apart."
    )
    SURMOUNTABLE = (
        "Surmountable, but not as simple competition has it: the EC50 rises with a Schild slope that is not 1, "
        "and Emax stays."
    )
    ALLOSTERIC = "Allosteric: the EC50 rises to a limit and Emax stays (ternary complex, affinity only)."


@dataclass(frozen=True)
class Family:
    """A mechanism: parameters in order and the mean at pairs of doses."""

    name: str
    action: Action
    parameters: tuple[str, ...]
    own: tuple[str, ...]  # those of the inhibitor
    mean: Callable[[FloatArray, FloatArray, FloatArray], tuple[FloatArray, FloatArray]] = field(repr=False)
    # agonist (n,), inhibitor (n,), parameters (p,) to responses (n,) and derivatives (n, p)


def _log1p10(u: FloatArray) -> FloatArray:
    return np.asarray(np.log1p(u) / LN10)


def _u(doses: FloatArray, log_k: float) -> FloatArray:
    return np.asarray(doses / 10.0**log_k, dtype=float)


def _none(doses: FloatArray, own: FloatArray) -> Effect:
    zero, empty = np.zeros(len(doses)), np.zeros((len(doses), 0))
    return zero, empty, zero + 1.0, empty


def _competitive(doses: FloatArray, own: FloatArray) -> Effect:
    u = _u(doses, own[0])
    return _log1p10(u), -(u / (1.0 + u))[:, None], np.ones(len(u)), np.zeros((len(u), 1))


def _schild(doses: FloatArray, own: FloatArray) -> Effect:
    u, s = _u(doses, own[0]), math.exp(own[1])
    v = u**s
    share = v / (1.0 + v)
    with np.errstate(divide="ignore", invalid="ignore"):
        by_slope = np.where(v > 0.0, s * share * np.log(u) / LN10, 0.0)
    return _log1p10(v), np.stack([-s * share, by_slope], axis=1), np.ones(len(u)), np.zeros((len(u), 2))


def _noncompetitive(doses: FloatArray, own: FloatArray) -> Effect:
    u = _u(doses, own[0])
    return np.zeros(len(u)), np.zeros((len(u), 1)), 1.0 / (1.0 + u), (LN10 * u / (1.0 + u) ** 2)[:, None]


def _uncompetitive(doses: FloatArray, own: FloatArray) -> Effect:
    u = _u(doses, own[0])
    return -_log1p10(u), (u / (1.0 + u))[:, None], 1.0 / (1.0 + u), (LN10 * u / (1.0 + u) ** 2)[:, None]


def _mixed(doses: FloatArray, own: FloatArray) -> Effect:
    c, u = _u(doses, own[0]), _u(doses, own[1])
    by_a = np.stack([-c / (1.0 + c), u / (1.0 + u)], axis=1)
    by_e = np.stack([np.zeros(len(u)), LN10 * u / (1.0 + u) ** 2], axis=1)
    return _log1p10(c) - _log1p10(u), by_a, 1.0 / (1.0 + u), by_e


def _allosteric(doses: FloatArray, own: FloatArray) -> Effect:
    u = _u(doses, own[0])
    v = u * 10.0 ** own[1]
    by_a = np.stack([-u / (1.0 + u) + v / (1.0 + v), -v / (1.0 + v)], axis=1)
    return _log1p10(u) - _log1p10(v), by_a, np.ones(len(u)), np.zeros((len(u), 2))


@dataclass(frozen=True)
class _Shifted:
    """A Hill curve whose EC50 and Emax the inhibitor changes; picklable, unlike a closure."""

    effect: EffectOf

    def __call__(self, agonist: FloatArray, inhibitor: FloatArray, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
        bottom, top, log_ec50, log_hill = theta[:4]
        log_a, by_a, e, by_e = self.effect(inhibitor, theta[4:])
        h, by_ec50, by_hill = sigmoid(agonist, log_ec50 + log_a, log_hill)
        span = top - bottom
        own = span * (h[:, None] * by_e + (e * by_ec50)[:, None] * by_a)
        base = np.stack([1.0 - e * h, e * h, span * e * by_ec50, span * e * by_hill], axis=1)
        return bottom + span * e * h, np.hstack([base, own])


def _receptor_loss(agonist: FloatArray, inhibitor: FloatArray, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
    bottom, top, log_ka, log_n, log_tau, log_kb = theta
    n, ka, u = math.exp(log_n), 10.0**log_ka, _u(inhibitor, log_kb)
    with np.errstate(divide="ignore", invalid="ignore"):
        steps = n * (LN10 * log_tau - np.log1p(u) + np.log(agonist) - np.log(agonist + ka))
    value = expit(steps)
    slope = value * expit(-steps)
    with np.errstate(invalid="ignore"):
        by_n = np.where(slope > 0.0, slope * steps, 0.0)
    span = top - bottom
    jacobian = [
        1.0 - value, value, -span * slope * n * LN10 * ka / (agonist + ka), span * by_n, span * slope * n * LN10,
        span * slope * n * LN10 * u / (1.0 + u),
    ]  # fmt: skip
    return bottom + span * value, np.stack(jacobian, axis=1)


_BASE = ("bottom", "top", "log_ec50", "log_hill")


def _family(name: str, action: Action, own: tuple[str, ...], effect: EffectOf) -> Family:
    return Family(name, action, (*_BASE, *own), own, _Shifted(effect))


FAMILIES = {
    family.name: family
    for family in (
        _family("none", Action.NONE, (), _none),
        _family("competitive", Action.COMPETITIVE, ("log_kb",), _competitive),
        _family("uncompetitive", Action.UNCOMPETITIVE, ("log_ku",), _uncompetitive),
        _family("noncompetitive", Action.INSURMOUNTABLE, ("log_kb",), _noncompetitive),
        Family(
            "receptor loss", Action.INSURMOUNTABLE,
            ("bottom", "top", "log_ka", "log_hill", "log_tau", "log_kb"), ("log_tau", "log_kb"), _receptor_loss,
        ),
        _family("mixed", Action.MIXED, ("log_kc", "log_ku"), _mixed),
        _family("allosteric", Action.ALLOSTERIC, ("log_kb", "log_alpha"), _allosteric),
        _family("schild", Action.SURMOUNTABLE, ("log_kb", "log_schild_slope"), _schild),
    )
}  # fmt: skip

CANDIDATES = tuple(FAMILIES)

# (small, large, at the boundary of what the large may be): 1/K_u = 0, alpha = 0 and 1/tau = 0 are such boundaries.
# Without inhibition one of two own parameters has no meaning; two degrees of freedom are then the cautious count.
NESTED = (
    ("none", "competitive", True),
    ("none", "uncompetitive", True),
    ("none", "noncompetitive", True),
    ("none", "mixed", True),
    ("none", "allosteric", True),
    ("none", "schild", True),
    ("none", "receptor loss", True),
    ("competitive", "mixed", True),
    ("uncompetitive", "mixed", True),
    ("noncompetitive", "mixed", False),
    ("competitive", "schild", False),
    ("competitive", "allosteric", True),
    ("competitive", "receptor loss", True),
)

# (one, another, parameter of both, its value there): they overlap without being nested, in the same curves.
OVERLAPS = (("mixed", "receptor loss", "log_hill", 0.0),)
