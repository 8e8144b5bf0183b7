"""Which further dose or arm would decide between mechanisms?

Every mechanism predicts what a candidate experiment would give, with the uncertainty of its parameters as draws.
Measurements y scatter around the predictions with normal noise, so a mechanism m has p(y | m), a mean over its
draws.  With weights w (Akaike weights of the data at hand, say)::

    gain(experiment) = sum_m w_m E_{y | m} [ log2 p(y | m) - log2 sum_k w_k p(y | k) ]

is the mutual information of mechanism and measurement in bits (Lindley 1956, doi:10.1214/aoms/1177728069; for models
of biochemistry Vanlier et al. 2014, doi:10.1186/1752-0509-8-20): 0 where all mechanisms predict the same, and at
most what is undecided now, -sum w log2 w.  ``log_ratio`` is the expected log-likelihood ratio of the true mechanism
against its best rival, and ``weight`` the weight that the true one can be expected to have afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

from fits.curvefit.forms import FloatArray
from kinetics.errors import InputError, UnknownName

if TYPE_CHECKING:
    import pandas as pd

    from fits.curvefit.inhibition import Inhibition
    from kinetics.dosing import DoseProtocol
    from kinetics.model import Model

LITTLE = 0.05  # of what is undecided: gains below this share are as good as none


@dataclass(frozen=True)
class Gain:
    """What one experiment can be expected to tell."""

    experiment: str
    bits: float
    error: float  # Monte Carlo standard error of the bits
    log_ratio: float  # natural logarithm
    weight: float  # expected of the true mechanism afterwards
    share: float  # of the bits that are undecided now


@dataclass(frozen=True, eq=False)
class Decisive:
    """Candidate experiments, the most telling first."""

    gains: tuple[Gain, ...]
    mechanisms: tuple[str, ...]
    undecided: float  # bits
    weights: Mapping[str, float]

    @property
    def sentences(self) -> tuple[str, ...]:
        """The answer in words."""
        names = ", ".join(f"{name} {weight:.0%}" for name, weight in self.weights.items())
        said = [f"Undecided now: {self.undecided:.2g} bits between {names}."]
        best = self.gains[0]
        if self.undecided < 0.01:
            said.append("The data have decided already; no experiment is needed for that.")
        elif best.share < LITTLE:
            said.append(
                "None of these experiments would tell the mechanisms apart: they predict the same within the noise."
            )
        else:
            said.append(
                f"Most telling: {best.experiment}, expected to settle {best.share:.0%} of that and to leave the true "
                f"mechanism "
                f"with a weight of {best.weight:.0%}."
            )
            close = [g.experiment for g in self.gains[1:] if g.bits > best.bits - 2.0 * math.hypot(g.error, best.error)]
            if close:
                said.append(f"As good within the error of the calculation: {', '.join(close)}.")
        return tuple(said)

    def __str__(self) -> str:
        return "\n".join(self.sentences)

    def to_frame(self) -> pd.DataFrame:
        """A row per experiment."""
        import pandas as pd

        return pd.DataFrame([vars(gain) for gain in self.gains])


def expected_gains(
    predictions: Mapping[str, Mapping[str, npt.ArrayLike]],
    noise: float | Mapping[str, npt.ArrayLike],
    *,
    weights: Mapping[str, float] | None = None,
    draws: int = 400,
    seed: int = 0,
) -> Decisive:
    """Rank experiments by what they can be expected to tell about the mechanism.

    Args:
        predictions: by experiment and mechanism, shape ``(k, m)``: k draws of the parameters, m measurements.
        Replicates
            are measurements of their own.
        noise: standard deviation of a measurement; one number, or ``(m,)`` by experiment.
        weights: of the mechanisms before the experiment; equal by default.
        draws: simulated outcomes for each mechanism.
        seed: of the outcomes.

    Raises:
        InputError, UnknownName: shapes, names or weights do not fit.
    """
    if not predictions:
        raise InputError("there are no candidate experiments")
    names = tuple(next(iter(predictions.values())))
    if len(names) < 2:
        raise InputError("there must be at least two mechanisms to decide between")
    prior = _weights(names, weights)
    undecided = -sum(w * math.log2(w) for w in prior if w > 0.0)
    gains = []
    for number, (experiment, by_name) in enumerate(predictions.items()):
        if set(by_name) != set(names):
            raise InputError(
                f"experiment {experiment!r} has predictions of {sorted(by_name)}, expected {sorted(names)}"
            )
        tables = [np.atleast_2d(np.asarray(by_name[name], dtype=float)) for name in names]
        widths = {table.shape[1] for table in tables}
        if len(widths) != 1 or any(table.ndim != 2 or not np.all(np.isfinite(table)) for table in tables):
            raise InputError(f"predictions of {experiment!r} must be finite, (draws, measurements), with as many "
                             "measurements for each mechanism")  # fmt: skip
        sigma = np.asarray(noise[experiment] if isinstance(noise, Mapping) else noise, dtype=float)
        sigma = np.broadcast_to(sigma, (widths.pop(),))
        if not np.all(np.isfinite(sigma) & (sigma > 0.0)):
            raise InputError("noise must be a positive standard deviation")
        gains.append(_gain(experiment, tables, sigma, prior, undecided, draws, np.random.default_rng([seed, number])))
    gains.sort(key=lambda gain: -gain.bits)
    return Decisive(tuple(gains), names, undecided, dict(zip(names, prior.tolist(), strict=True)))


def _weights(names: Sequence[str], weights: Mapping[str, float] | None) -> FloatArray:
    if weights is None:
        return np.full(len(names), 1.0 / len(names))
    for name in names:
        if name not in weights:
            raise UnknownName("weight of mechanism", name, weights, "the weights")
    chosen = np.array([weights[name] for name in names], dtype=float)
    if np.any(chosen < 0.0) or not np.sum(chosen) > 0.0 or not np.all(np.isfinite(chosen)):
        raise InputError("weights must not be negative, and not all zero")
    return np.asarray(chosen / chosen.sum())


def _gain(
    experiment: str, tables: Sequence[FloatArray], sigma: FloatArray, prior: FloatArray, undecided: float, draws: int,
    rng: np.random.Generator,
) -> Gain:  # fmt: skip
    bits, ratios, after, spread = 0.0, 0.0, 0.0, 0.0
    for true, (table, weight) in enumerate(zip(tables, prior, strict=True)):
        if weight == 0.0:
            continue
        chosen = rng.integers(len(table), size=draws)
        y = table[chosen] + sigma * rng.standard_normal((draws, table.shape[1]))
        logs = np.stack([_log_density(y, other, sigma) for other in tables], axis=1)  # (draws, mechanisms)
        with np.errstate(divide="ignore"):
            joint = logs + np.log(prior)
        total = logsumexp(joint, axis=1)
        info = (logs[:, true] - total) / math.log(2.0)
        rivals = np.delete(logs, true, axis=1)[:, np.delete(prior, true) > 0.0]
        bits += weight * float(np.mean(info))
        spread += weight**2 * float(np.var(info)) / draws
        if rivals.shape[1]:
            ratios += weight * float(np.mean(logs[:, true] - rivals.max(axis=1)))
        after += weight * float(np.mean(np.exp(joint[:, true] - total)))
    share = bits / undecided if undecided > 0.0 else 0.0
    return Gain(experiment, bits, math.sqrt(spread), ratios, after, share)


def _log_density(y: FloatArray, table: FloatArray, sigma: FloatArray) -> FloatArray:
    """log p(y | mechanism) without what is the same for all, ``(n,)``."""
    scaled = (y[:, None, :] - table[None, :, :]) / sigma
    return np.asarray(logsumexp(-0.5 * np.sum(scaled**2, axis=2), axis=1) - math.log(len(table)))


def decide_inhibition(
    found: Inhibition,
    experiments: Iterable[tuple[float, float]],
    *,
    replicates: int = 3,
    draws: int = 300,
    seed: int = 0,
) -> Decisive:
    """Which pair of doses (agonist, inhibitor) would decide between the mechanisms that the data leave?

    Every mechanism with an Akaike weight above 1 % takes part, with draws from the normal approximation of its fit.

    Raises:
        InputError: fewer than two mechanisms have any weight, or there are no pairs.
    """
    from fits.bands import normal_draws
    from fits.information import fisher

    weights = {name: weight for name, weight in found.selection.weights.items() if weight > 0.01}
    if len(weights) < 2:
        raise InputError(f"the data have decided already: {next(iter(weights), 'nothing is ranked')}")
    pairs = list(experiments)
    samples = {}
    for name in weights:
        fit = found.fits[name]
        try:
            samples[name] = normal_draws(fisher(fit.objective, fit.x), draws, seed=seed)
        except InputError:  # a parameter on the edge of what it may be has no normal approximation
            samples[name] = fit.x[None, :]
    predictions: dict[str, dict[str, FloatArray]] = {}
    noise: dict[str, FloatArray] = {}
    for agonist, inhibitor in pairs:
        points = found.fits[next(iter(weights))].points
        label = f"{agonist:g} {points.dose_unit} with {inhibitor:g} {points.inhibitor_unit} inhibitor".replace(
            "  ", " "
        )
        tables = {}
        for name, vectors in samples.items():
            family = found.fits[name].family
            p = len(family.parameters)
            one = np.array([family.mean(np.array([agonist]), np.array([inhibitor]), x[:p])[0][0] for x in vectors])
            tables[name] = np.repeat(one[:, None], replicates, axis=1)
        best = found.fits[max(weights, key=lambda n: weights[n])]
        sigma = best.objective.sigma(best.x)
        noise[label] = np.repeat(
            best.objective.deviations(best.predict(np.array([agonist]), inhibitor), sigma), replicates
        )
        predictions[label] = tables
    return expected_gains(predictions, noise, weights=weights, seed=seed)


def decide_models(
    mechanisms: Mapping[str, tuple[Model, Sequence[Mapping[str, float]]]],
    experiments: Mapping[str, DoseProtocol],
    noise: float,
    *,
    weights: Mapping[str, float] | None = None,
    seed: int = 0,
) -> Decisive:
    """Which dose-response experiment would decide between mechanistic models?

    Args:
        mechanisms: by name, a model and draws of its parameters (mechanism included), as `model_shifts.model_shift`
        takes. experiments: by name; every dose of a protocol is one measurement.
        noise: standard deviation of a measurement, in the unit of the read-out.

    Raises:
        InputError: names or draws do not fit.
        SimulationError: a draw cannot be simulated.
    """
    from kinetics.dosing import dose_response

    if any(not draws for _, draws in mechanisms.values()):
        raise InputError("every mechanism needs at least one draw of its parameters")
    predictions = {
        experiment: {
            name: np.array([dose_response(model, protocol, parameters=dict(draw)).responses for draw in draws])
            for name, (model, draws) in mechanisms.items()
        }
        for experiment, protocol in experiments.items()
    }
    return expected_gains(predictions, noise, weights=weights, seed=seed)
