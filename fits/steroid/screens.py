"""What T-ALL samples show under single agents, recomputed from the carried tables, beside what the model shows.

A curve is a sample under a drug in a screen, described by a least-squares Hill curve through the means of its wells.
A curve past its midpoint at the lowest dose, or short of it at the highest, has a censored EC50, which takes part in
medians as below or above all others; a curve that follows no Hill curve has none and is counted apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from fits.population.tables import Well, carried, read_wells
from fits.steroid.arms import Arm, Cells, viability
from kinetics.curves import EC50Status, describe_points
from kinetics.errors import InputError

TABLES: Mapping[str, tuple[str, ...]] = {
    "tall_glucocorticoids.csv": ("dexamethasone", "prednisolone"),
    "tall_single_agents.csv": ("dactolisib", "mk-2206", "pd-0325901", "selumetinib", "venetoclax"),
}
# What the model has of each drug.  It knows one MEK inhibitor, which stands for the others when all are saturating.
SPECIES: Mapping[str, str] = {
    "dexamethasone": "Dexamethasone", "prednisolone": "Prednisolone", "dactolisib": "BEZ235", "mk-2206": "MK2206",
    "venetoclax": "Venetoclax", "selumetinib": "CI1040", "pd-0325901": "CI1040",
}  # fmt: skip
STANDS_IN = ("selumetinib", "pd-0325901")
HOURS = 72.0
KILLS = 0.75  # a median viability at the highest dose below this counts as killing, see docs/how-to/population.md


@dataclass(frozen=True)
class Summary:
    """EC50s and plateaus of some curves under one drug; doses in nM."""

    curves: int
    inside: int  # curves with an EC50 between their lowest and highest dose
    below: int  # censored
    above: int
    ec50: tuple[float, float, float]  # quartiles; 0 or inf where a censored curve decides; NaN without any
    top_dose: tuple[float, float]  # the lowest and the highest of the curves' highest doses
    plateau: tuple[float, float, float, float, float]  # viability there: least, quartiles, largest

    @property
    def median_ec50(self) -> float:
        return self.ec50[1]

    @property
    def median_plateau(self) -> float:
        return self.plateau[2]

    @property
    def words(self) -> str:
        low, middle, high = (_dose(value) for value in self.ec50)
        counted = self.inside + self.below + self.above
        censored = f", {self.below + self.above} of them outside of their doses" if self.below + self.above else ""
        same = self.top_dose[0] == self.top_dose[1]
        at = f"{self.top_dose[0]:g} nM" if same else "their highest doses"
        return (
            f"EC50 median {middle} nM (IQR {low} to {high}; n = {counted} of {self.curves} curves{censored}); "
            f"viability at {at} median {self.median_plateau:.2f} (IQR {self.plateau[1]:.2f} to {self.plateau[3]:.2f}, "
            f"range {self.plateau[0]:.2f} to {self.plateau[4]:.2f})"
        )


def _dose(value: float) -> str:
    return "beyond the highest" if math.isinf(value) else "below the lowest" if value == 0.0 else f"{value:.3g}"


def curves_of(wells: Iterable[Well]) -> dict[tuple[str, str, str], tuple[list[float], list[float]]]:
    """Doses and means of replicate wells by sample, drug and screen."""
    found: dict[tuple[str, str, str], dict[float, list[float]]] = {}
    for well in sorted(wells):
        found.setdefault((well.sample, well.drug, well.screen), {}).setdefault(well.dose, []).append(well.viability)
    return {
        key: (sorted(doses), [float(np.mean(doses[dose])) for dose in sorted(doses)]) for key, doses in found.items()
    }


def summarised(wells: Iterable[Well]) -> Summary:
    """A summary of all curves of these wells, which should be under one drug.

    Raises:
        InputError: there are none.
    """
    curves = curves_of(wells)
    if not curves:
        raise InputError("there are no wells to summarise")
    ec50s, tops, ends = [], [], []
    counts = dict.fromkeys(EC50Status, 0)
    for doses, means in curves.values():
        tops.append(doses[-1])
        ends.append(means[-1])
        ec50, status = _ec50(doses, means)
        counts[status] += 1
        if not math.isnan(ec50):
            ec50s.append(ec50)
    low, *quartiles, high = np.quantile(ends, [0.0, 0.25, 0.5, 0.75, 1.0]).tolist()
    return Summary(
        len(curves), counts[EC50Status.INSIDE], counts[EC50Status.BELOW], counts[EC50Status.ABOVE], _quartiles(ec50s),
        (min(tops), max(tops)), (low, quartiles[0], quartiles[1], quartiles[2], high),
    )  # fmt: skip


def _ec50(doses: list[float], means: list[float]) -> tuple[float, EC50Status]:
    """The EC50, 0 or inf where it is censored, NaN where there is none."""
    if len(doses) < 4:
        return math.nan, EC50Status.NOT_HILL
    found = describe_points(doses, means)
    censored = {EC50Status.BELOW: 0.0, EC50Status.ABOVE: math.inf}
    return censored.get(found.status, found.ec50), found.status


def _quartiles(values: list[float]) -> tuple[float, float, float]:
    """Quartiles of numbers some of which may be infinite: between two of them nothing is interpolated to NaN."""
    if not values:
        return math.nan, math.nan, math.nan
    ordered = sorted(values)

    def at(level: float) -> float:
        place = level * (len(ordered) - 1)
        low, share = int(place), place - int(place)
        if share == 0.0 or ordered[low] == ordered[low + 1]:
            return ordered[low]
        return ordered[low] + share * (ordered[low + 1] - ordered[low])

    return at(0.25), at(0.5), at(0.75)


@lru_cache(maxsize=1)
def screened() -> Mapping[str, tuple[Well, ...]]:
    """The wells (or means of wells) of the carried tables, by drug."""
    found: dict[str, tuple[Well, ...]] = {}
    for table, drugs in TABLES.items():
        wells = read_wells(carried(table), drugs).wells
        found.update({drug: tuple(well for well in wells if well.drug == drug) for drug in drugs})
    return found


@lru_cache(maxsize=1)
def summaries() -> Mapping[str, Summary]:
    """A summary of each drug of the carried tables."""
    return {drug: summarised(wells) for drug, wells in screened().items()}


def potency_ratios(strong: str = "dexamethasone", weak: str = "prednisolone") -> dict[str, float]:
    """EC50 of one drug over that of another, by sample, where one screen has both and both lie inside."""
    curves = {key: _ec50(*curve) for drug in (strong, weak) for key, curve in curves_of(screened()[drug]).items()}
    found = {}
    for (sample, drug, screen), (ec50, status) in sorted(curves.items()):
        other = curves.get((sample, weak, screen))
        if drug == strong and status is EC50Status.INSIDE and other and other[1] is EC50Status.INSIDE:
            found[sample] = other[0] / ec50
    return found


@dataclass(frozen=True)
class Comparison:
    """One number of the screens beside the model's, for the parental line."""

    drug: str
    what: str
    measured: float
    model: float
    agrees: bool
    sentence: str


def compared(cells: Cells) -> tuple[Comparison, ...]:
    """The screens beside the model: viability at the highest dose of each drug, parental cells, 72 h.

    Agreement is on the sign: both kill or neither does (`KILLS`).  Where they differ the sentence says what the model
    lacks.  ``cells`` answers for one parameter set.
    """
    found = []
    for drug, summary in sorted(summaries().items()):
        dose = summary.top_dose[1]
        model = float(np.atleast_1d(viability(cells, Arm().given(**{SPECIES[drug]: dose}), HOURS))[0])
        measured = summary.median_plateau
        agrees = (measured < KILLS) == (model < KILLS)
        text = (
            f"{drug} at {dose:g} nM: median viability {measured:.2f} of {summary.curves} curves, model {model:.2f}"
            + (f" (as {SPECIES[drug]}, the MEK inhibitor it has)" if drug in STANDS_IN else "")
            + ("." if agrees else f": {_LACKS.get(drug, 'the model disagrees')}.")
        )
        found.append(Comparison(drug, f"viability at {dose:g} nM", measured, model, agrees, text))
    return tuple(found)


_LACKS: Mapping[str, str] = {
    "mk-2206": "the model has it on AKT alone, which is blocked at tens of nM and kills nothing by itself; what it "
    "does above 1 uM is off target and not in the model",
    "dactolisib": "the model has no death but that by BIM and PUMA, and none of what blocking mTOR does to growth",
    "venetoclax": "the parental line of the model does not live on BCL-2 alone, as many of the samples do",
}
