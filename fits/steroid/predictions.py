"""What the ensemble says: the share of its members in which each claim holds, and predictions with their spread.

A member keeps every core claim by the rule of `acceptance.toml`, so the shares of core claims check the rule; those
of other claims, and the predictions, say what the claims and the data leave open.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

import kinetics as kin
from fits.claims.verdict import Share
from fits.steroid.arms import MODEL, Cells, FloatArray, line, viability
from fits.steroid.criteria import CORE, SECONDARY, Criterion, crossing, evaluate, half_dose, stack
from fits.steroid.drug_criteria import panel
from fits.steroid.lines import DEXAMETHASONE_RESCUE, PREDNISOLONE_DOSES, RESISTANT, with_il7
from fits.steroid.many import Plan, requests
from fits.steroid.panel import design
from kinetics.batch import Batch
from kinetics.ensemble import Ensemble, Interval, interval, load

RTOL = 1e-5  # of the batch: viability to 1e-6
IL7_DOSES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 25.0)  # ng/ml
MEMBERS = "members of the ensemble"


@dataclass(frozen=True)
class Prediction:
    """A number that nobody reported, with its spread over the ensemble."""

    title: str
    unit: str
    interval: Interval  # over the members that have the number
    without: int  # members that do not: no tested dose reaches what is asked

    def words(self) -> str:
        """``"title: 0.43 (0.37 to 0.46)"``."""
        said = f"{self.title}: {self.interval.range} {self.unit}".rstrip()
        return f"{said}; {self.without} sets do not reach it" if self.without else said


@dataclass(frozen=True)
class Ensembled:
    """What was computed over an ensemble."""

    size: int
    shares: Mapping[str, Share]  # by claim
    intervals: Mapping[str, Mapping[str, Interval]]  # claim -> name of a criterion -> spread of its number
    predictions: tuple[Prediction, ...]
    verdicts: tuple[str, ...]  # by line: how many members give which verdict on the shift of its prednisolone curve


def over_ensemble(model: kin.Model, ensemble: Ensemble | None = None) -> Ensembled:
    """Every claim of the steroid model that is about single sets, and the predictions, over an ensemble.

    Args:
        model: the steroid model.
        ensemble: the bundled one by default.

    Raises:
        InputError: the ensemble belongs to another model.
    """
    ensemble = load(MODEL) if ensemble is None else ensemble
    ensemble.check(model)
    claims = (*CORE, *SECONDARY)
    plan = Plan(Batch(model), requests(lambda cells: evaluate(claims, cells), _numbers))
    answers = plan.run(ensemble.columns(), rtol=RTOL)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = evaluate(claims, answers)
        numbers = _numbers(answers)
    return Ensembled(
        len(ensemble),
        {claim: _share(criteria, ensemble.search) for claim, criteria in found.items()},
        {claim: {each.name: interval(each.value) for each in criteria} for claim, criteria in found.items()},
        tuple(_prediction(title, unit, values) for (title, unit), values in numbers.items()),
        _verdicts(answers),
    )


def _share(criteria: Iterable[Criterion], search: FloatArray) -> Share:
    """Members of one search are neighbours, so the searches are counted too."""
    holds = np.all([criterion.holds for criterion in criteria], axis=0)
    searches = f"those of {len(set(search[holds]))} of {len(set(search))} searches among them"
    return Share(int(np.count_nonzero(holds)), len(holds), f"{MEMBERS}, {searches}")


def _verdicts(cells: Cells) -> tuple[str, ...]:
    """The report on the shift against the parental line, fitted for every member; A10-A14."""
    curves = {name: _curve(cells, name) for name in ("parental", *RESISTANT)}
    said = []
    for name in RESISTANT:
        pairs = zip(curves["parental"], curves[name], strict=True)
        counted = Counter(kin.compare(*(_as_curve(left) for left in pair)).verdict for pair in pairs)
        parts = "; ".join(f"{verdict} in {number}" for verdict, number in counted.most_common())
        said.append(f"{name} beside parental, prednisolone: {parts}")
    return tuple(said)


def _curve(cells: Cells, name: str) -> FloatArray:
    """Viability over prednisolone, shape ``(sets, doses)``."""
    return stack(viability(cells, line(name).given(Prednisolone=dose)) for dose in PREDNISOLONE_DOSES)


def _as_curve(left: FloatArray) -> kin.DoseResponseCurve:
    return kin.DoseResponseCurve(
        np.array(PREDNISOLONE_DOSES), left, "nM", "dimensionless", "Prednisolone", "viability"
    )


def _prediction(title: str, unit: str, values: FloatArray) -> Prediction:
    there = values[np.isfinite(values)]
    return Prediction(title, unit, interval(there) if len(there) else interval([np.nan]), len(values) - len(there))


def _numbers(cells: Cells) -> dict[tuple[str, str], FloatArray]:
    """Predictions by (title, unit), each of shape ``(sets,)``."""
    found: dict[tuple[str, str], FloatArray] = {}
    left, ec50 = {}, {}
    for name in ("parental", *RESISTANT):
        curve = _curve(cells, name)
        left[name], ec50[name] = curve[:, -1], half_dose(PREDNISOLONE_DOSES, curve)
    for name in RESISTANT:
        found[f"{name}: what prednisolone leaves alive, minus parental", ""] = left[name] - left["parental"]
        found[f"{name}: prednisolone EC50 over parental", "x"] = ec50[name] / ec50["parental"]
    for pathway in design().drugs:
        title = f"panel of {len(design().samples)}: median Bliss excess of the {pathway} inhibitor with prednisolone"
        found[title, ""] = np.median(panel(cells, pathway), axis=1)
    dexed = line("parental").given(Dexamethasone=DEXAMETHASONE_RESCUE)
    rescued = stack(viability(cells, with_il7(dexed, dose)) for dose in IL7_DOSES)
    half = crossing(tuple(np.log(IL7_DOSES).tolist()), rescued, np.full(len(rescued), 0.5))
    found["parental: IL-7 that keeps half of the cells alive in 2.5 uM dexamethasone", "ng/ml"] = np.exp(half)
    return found
