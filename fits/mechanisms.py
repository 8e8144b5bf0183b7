"""Which mechanism of imatinib do the reported numbers support: kinase, receptors, affinity, STAT5 or phosphatase?

The paper gives no points, so the data are two intervals: the shift of the EC50 and the ratio of Emax (the terms of the
bundled problem ``il7_pstat5``).  Each mechanism is one constant factor on the treated arm, estimated by itself; the
catalogue of the model names them.  Candidates are ranked by AIC, since AICc is undefined for two numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

import kinetics as kin
from fits.noise import Likelihood
from fits.problem import Measurement, Observable
from fits.selection import Candidate, Selection, compare
from kinetics.errors import InputError

MECHANISMS = ("kinase", "receptor_loss", "gc_loss", "affinity", "STAT5_pool", "phosphatase")
STRONGEST = 1000.0  # fold change: the range over which an effect is sought
COARSE = 25  # factors tried before the best one is refined
NO_EFFECT = "no effect"


@dataclass(frozen=True)
class Reported:
    """A number known to lie in an interval, read with an error."""

    lower: float
    upper: float
    error: float

    def nllh(self, value: float) -> float:
        """Negative log-probability of the interval around a model's value; ``inf`` where there is no value."""
        if math.isnan(value):
            return math.inf
        row = Measurement("number", "", 0.0, math.nan, lower=self.lower, upper=self.upper)
        likelihood = Likelihood.of([row], [Observable("number", "number", "error")])
        return float(likelihood.nllh(np.array([value]), np.array([self.error]))[0])


# Thiant et al. 2017, figure 1e (an image): bounds and errors chosen by this project, as in fits/problems/il7_pstat5.
SHIFT = Reported(0.7, 2.3, 0.1)  # log10 of the EC50 ratio
EMAX = Reported(0.8, math.inf, 0.05)  # ratio of Emax
PROTOCOL = kin.DoseProtocol(
    "IL7", kin.doses("0.001 ng/ml", "100 ng/ml", per_decade=3), kin.Readout.at("pSTAT5_total", "30 min")
).before(("25 h", {}))


@dataclass(frozen=True)
class Effect:
    """The best size of one mechanism, and what it predicts."""

    parameter: str
    factor: float  # the constant factor; 1: no effect
    dose_ratio: float
    emax_ratio: float
    nllh: float


@dataclass(frozen=True)
class MechanismComparison:
    """Mechanisms fitted one by one, and what the data say about them."""

    effects: Mapping[str, Effect]
    selection: Selection

    @property
    def sentences(self) -> tuple[str, ...]:
        """The answer in words, ending with what cannot be told apart."""
        said = [
            f"{name}: {effect.parameter} x {effect.factor:.3g} gives a {effect.dose_ratio:.3g}-fold shift at "
            f"{effect.emax_ratio:.2f} of Emax (negative log-likelihood {effect.nllh:.3g})."
            for name, effect in self.effects.items()
        ]
        return (*said, *self.selection.sentences())


def compare_mechanisms(
    model: kin.Model | None = None,
    *,
    shift: Reported = SHIFT,
    emax: Reported = EMAX,
    mechanisms: tuple[str, ...] = MECHANISMS,
    protocol: kin.DoseProtocol = PROTOCOL,
) -> MechanismComparison:
    """Fit each mechanism of the model's catalogue to a reported shift and rank them.

    Args:
        model: a bundled model with mechanisms; by default `il7_stat5_imatinib`.
        shift: the reported log10 EC50 ratio; ``emax`` the reported ratio of Emax.
        mechanisms: names in ``model.entry.mechanisms``, each a single factor.

    Raises:
        InputError: a mechanism is not a single factor, or cannot be simulated at any size.
    """
    model = model or kin.Model.load("il7_stat5_imatinib")
    known = model.entry.mechanisms if model.entry else {}
    control = kin.dose_response(model, protocol, label="control")

    def predicted(changes: Mapping[str, float]) -> tuple[float, float, float]:
        found = kin.compare(control, kin.dose_response(model.with_values(**changes), protocol, label="treated"))
        total = shift.nllh(found.delta_log10_ec50) + emax.nllh(found.emax_ratio)
        return total, found.dose_ratio, found.emax_ratio

    nothing = shift.nllh(0.0) + emax.nllh(1.0)
    effects: dict[str, Effect] = {}
    candidates = {NO_EFFECT: Candidate(nothing, 0, 2)}
    for name in mechanisms:
        if name not in known or len(known[name].values) != 1:
            raise InputError(f"mechanism {name!r} must be one factor of model {model.name!r}; it has {sorted(known)}")
        ((parameter, example),) = known[name].values.items()
        effects[name] = _best(parameter, 1.0 if example > 1.0 else -1.0, predicted)
        candidates[name] = Candidate(effects[name].nllh, 1, 2)
    nested = [(NO_EFFECT, name) for name in mechanisms]
    return MechanismComparison(effects, compare(candidates, nested=nested, criterion="AIC"))


def _best(parameter: str, sign: float, predicted: object) -> Effect:
    """The factor with the lowest negative log-likelihood, on a grid first and then refined around the best point."""
    from scipy.optimize import minimize_scalar

    assert callable(predicted)

    def cost(log_factor: float) -> float:
        value = float(predicted({parameter: 10.0 ** (sign * log_factor)})[0])
        return value if math.isfinite(value) else 1e6

    grid = np.linspace(0.0, math.log10(STRONGEST), COARSE)
    costs = [cost(x) for x in grid]
    middle = int(np.argmin(costs))
    if costs[middle] >= 1e6:
        raise InputError(f"no size of {parameter!r} gives a curve that can be compared")
    low, high = grid[max(middle - 1, 0)], grid[min(middle + 1, len(grid) - 1)]
    refined = minimize_scalar(cost, bounds=(low, high), method="bounded", options={"xatol": 1e-4})
    log_factor = float(refined.x) if refined.fun < costs[middle] else float(grid[middle])
    factor = 10.0 ** (sign * log_factor)
    value, ratio, emax = predicted({parameter: factor})
    return Effect(parameter, factor, ratio, emax, value)
