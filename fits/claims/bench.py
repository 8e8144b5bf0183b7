"""The bench on which claims are checked: models, parameter overrides, and curves simulated once.

An `Assay` says in frozen data what is done to which cells; the bench turns it into a curve and remembers it,
because most claims read the same few curves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

import kinetics as kin
from fits.claims.ledger import MODELS
from kinetics import catalogue
from kinetics.errors import InputError, UnknownName

T = TypeVar("T")
DRUG = "3 uM"
PAPER = (("24 h", DRUG), ("1 h", "0 uM"))  # imatinib, then 1 h in serum-free medium without it
NO_WASH = (("25 h", DRUG),)
WASH_24H = (("24 h", DRUG), ("24 h", "0 uM"))
NEVER = math.inf  # a half-maximum that no tested dose reaches


class NotAnswered(Exception):
    """No model on the bench can answer; the message says what is missing."""


def _grid(*, per_decade: int, extra: tuple[float, ...]) -> tuple[str, ...]:
    """Doses from 0.001 to 100 ng/ml that contain the doses claims are about."""
    exponents = np.arange(-3 * per_decade, 2 * per_decade + 1) / per_decade
    values = sorted({*(float(f"{10.0**e:.6g}") for e in exponents), *extra})
    return tuple(f"{value:.6g} ng/ml" for value in values)


IL7_DOSES = _grid(per_decade=8, extra=(0.02, 0.05, 0.5, 50.0))


@dataclass(frozen=True)
class Assay:
    """What is done to which cells, and what is read; one arm of an experiment.

    The default is the untreated arm of Thiant 2017: 24 h vehicle, 1 h serum-free, IL-7, total pSTAT5 at 30 min.
    """

    cells: str = "CD4"  # "CD4" is the model as given, anything else a subset of the catalogue
    imatinib: tuple[tuple[str, str], ...] = (("24 h", "0 uM"), ("1 h", "0 uM"))  # (how long, how much)
    readout: str = "pSTAT5_total"
    at: str = "30 min"  # after the dose
    target: str = "IL7"
    doses: tuple[str, ...] = IL7_DOSES
    during: tuple[tuple[str, str], ...] = ()  # set together with the dose
    values: tuple[tuple[str, float], ...] = ()  # parameters of these cells; they win over overrides

    @property
    def vehicle(self) -> Assay:
        """The same without imatinib."""
        return replace(self, imatinib=tuple((duration, "0 uM") for duration, _ in self.imatinib))

    def protocol(self) -> kin.DoseProtocol:
        steps = [(duration, {"Imatinib": dose}) for duration, dose in self.imatinib]
        schedule = kin.Experiment.steps(*steps, (self.at, dict(self.during)))
        return kin.DoseProtocol(self.target, self.doses, kin.Readout.at(self.readout, self.at), schedule)


TREATED = Assay(imatinib=PAPER)  # the treated arm of Thiant 2017; `vehicle` gives its control


class Bench:
    """Models by name and the curves simulated on them so far."""

    def __init__(
        self,
        models: Mapping[str, kin.Model],
        parameters: Mapping[str, float] | None = None,
        solver: kin.Solver | None = None,
    ) -> None:
        self.models, self.parameters, self.solver = dict(models), dict(parameters or {}), solver
        self._curves: dict[Assay, kin.DoseResponseCurve] = {}
        self._kept: dict[str, Any] = {}

    def model(self, key: str) -> kin.Model:
        """The model with that short name (``"M1"``).

        Raises:
            NotAnswered: it is not on the bench.
        """
        name = MODELS[key]
        if name not in self.models:
            raise NotAnswered(f"needs the model {name!r}, which is not here")
        return self.models[name]

    def cells(self, name: str) -> kin.Model:
        """The IL-7 model of a subset: bulk CD4 is the model as given, others take the catalogue's receptor numbers."""
        model = self.model("M1")
        if name == "CD4":
            return model
        variants = catalogue.find_model(MODELS["M1"]).variants
        return model.with_values(**variants[name].values)

    def settings(self, cells: str, values: Mapping[str, float] | None = None) -> dict[str, float]:
        """Overrides that apply to these cells; what an assay or a subset sets wins over them."""
        own = {} if cells == "CD4" else catalogue.find_model(MODELS["M1"]).variants[cells].values
        known = self.model("M1").description.entities
        overrides = {name: value for name, value in self.parameters.items() if name not in own and name in known}
        return {**overrides, **(values or {})}

    def curve(self, assay: Assay) -> kin.DoseResponseCurve:
        """The dose-response curve of one arm; simulated when first asked for."""
        if assay not in self._curves:
            treated = any(dose != "0 uM" for _, dose in assay.imatinib)
            self._curves[assay] = kin.dose_response(
                self.cells(assay.cells),
                assay.protocol(),
                label=f"imatinib {DRUG}" if treated else "control",
                solver=self.solver,
                parameters=self.settings(assay.cells, dict(assay.values)),
            )
        return self._curves[assay]

    def kept(self, what: str, make: Callable[[], T]) -> T:
        """What several claims read, computed when first asked for; ``what`` names it."""
        if what not in self._kept:
            self._kept[what] = make()
        found: T = self._kept[what]
        return found

    def value(self, assay: Assay, dose: float) -> float:
        """The response at one of the doses of an assay, in its dose unit."""
        return at_dose(self.curve(assay), dose)

    def loss(self, assay: Assay, dose: float) -> float:
        """The share of the response that imatinib takes away at one dose."""
        return 1.0 - ratio(self.value(assay, dose), self.value(assay.vehicle, dose))

    def shift(self, assay: Assay) -> float:
        """How many times more of the ligand half of the control's maximum needs; `NEVER` where no dose does."""
        return equieffective(self.curve(assay.vehicle), self.curve(assay))


def ratio(value: float, reference: float) -> float:
    """``value / reference``; NaN, which meets no criterion, where the reference is 0."""
    return value / reference if reference else math.nan


def at_dose(curve: kin.DoseResponseCurve, dose: float) -> float:
    """The response at a simulated dose (no interpolation)."""
    index = int(np.argmin(np.abs(curve.doses - dose)))
    if not math.isclose(curve.doses[index], dose, rel_tol=1e-9):
        raise InputError(f"the curve has no dose {dose:g} {curve.dose_unit}; the nearest is {curve.doses[index]:g}")
    return float(curve.responses[index])


def equieffective(control: kin.DoseResponseCurve, treated: kin.DoseResponseCurve) -> float:
    """Ratio of the doses for half of the control's maximum.

    Returns:
        `NEVER` where the treated curve stays below; NaN where the control is past it at its lowest dose, or the
        control does not respond.
    """
    level = 0.5 * float(np.max(control.responses))
    if not level > 0.0:
        return math.nan
    if float(np.max(treated.responses)) < level:
        return NEVER
    return ratio(treated.dose_for(level), control.dose_for(level))


def fold(shift: float) -> str:
    """A shift in words."""
    return "beyond the highest dose" if shift == NEVER else f"{shift:.3g}x"


def known_parameters(models: Mapping[str, kin.Model], parameters: Mapping[str, float]) -> None:
    """Refuse overrides that no model has: they would change nothing and nobody would notice.

    Raises:
        UnknownName: naming the nearest.
    """
    known = {name for model in models.values() for name in model.description.entities}
    for name in parameters:
        if name not in known:
            raise UnknownName("parameter", name, known, "the models to be checked")
