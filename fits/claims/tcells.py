"""The experiments on T-cell numbers that claims are about, for one parameter set or for many.

Each function returns numbers by name, shape ``(n_sets,)``: what a criterion needs and what is shown beside it.
`EngineRuns` integrates one set on the engine, `BatchRuns` many at once; the experiments are written down once, here.

Where a protocol leaves something open it was settled before any result was seen:

- *Patient*: ten years of disease (its input), then imatinib for the median time of the paper, 2.9 years.
- *Lymphopenia* (B21, B22): the patient's T cells are cut to a tenth, as chemotherapy would, and IL-7 is read two weeks
  later; what imatinib's own lymphopenia does is shown too.
- *Therapy* (B20): IL-7 is held at ten times the patient's level for three weeks.
- *Culture* (X06): mean PI3K drive over four days in the IL-7 that the cells leave in the medium.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

import kinetics as kin
from kinetics import catalogue, pk, tone
from kinetics.batch import Batch, Lanes
from kinetics.tone import SUBSETS, DrugEffect, Response

FloatArray = npt.NDArray[np.float64]
Numbers = dict[str, FloatArray]

DISEASE_DAYS, PATIENT_DAYS = 3650.0, 1059.0  # ten years to a steady state; 2.9 years, the median of the paper (P136)
TRANSFER_DAYS, THERAPY_DAYS, LYMPHOPENIA_DAYS = 7.0, 21.0, 14.0
DEPLETION = 0.1  # of the T cells left, as in lymphopenia below 100 per ul
CULTURE_HOURS = 96.0
EXPOSURES = ("unbound_fraction_human", "unbound_fraction_mouse", "peak_mouse", "half_life_mouse")
UNBOUND_RANGE = (0.02, 0.336)  # uM, unbound imatinib in plasma of patients (P064)
LINEAGES = ("CD4", "CD8")
_SUPPLIES = tuple(f"input_{cells}" for cells in SUBSETS)
_COUNTS = (*SUBSETS, "CD4", "CD8", "T_cells", "IL7_level")
_TONES = tuple(f"tone_{cells}" for cells in SUBSETS)
_LEVELS = np.geomspace(1e-2, 1e5, 141)  # pg/ml, for half-maxima


class Runs(Protocol):
    """How the experiments are carried out."""

    def start(self, sets: Mapping[str, npt.ArrayLike], *, transfer: bool = False) -> Any:
        """At time 0; ``transfer``: labelled cells in a host without T cells."""
        ...

    def advance(self, state: Any, days: float, changes: Mapping[str, npt.ArrayLike]) -> Any:
        """Change something, then wait."""
        ...

    def read(self, state: Any, outputs: Sequence[str]) -> Numbers:
        """Quantities of the model after an `advance`."""
        ...


class BatchRuns:
    """All sets at once, in numpy."""

    def __init__(self, model: kin.Model, *, rtol: float = 1e-4) -> None:
        self._batch, self._rtol = Batch(model), rtol

    def start(self, sets: Mapping[str, npt.ArrayLike], *, transfer: bool = False) -> Lanes:
        return self._batch.start(sets)

    def advance(self, state: Lanes, days: float, changes: Mapping[str, npt.ArrayLike]) -> Lanes:
        return state.advance(days, changes, rtol=self._rtol, atol=1e-8)

    def read(self, state: Lanes, outputs: Sequence[str]) -> Numbers:
        return state.read(outputs)


class EngineRuns:
    """One set, on the engine; a state is the history that leads to it, run again when it is read."""

    def __init__(self, model: kin.Model, solver: kin.Solver | None = None) -> None:
        self._model, self._solver = model, solver

    def start(
        self, sets: Mapping[str, npt.ArrayLike], *, transfer: bool = False
    ) -> tuple[dict[str, float], tuple[Any, ...]]:
        return {name: float(np.ravel(value)[0]) for name, value in sets.items()}, ()

    def advance(
        self, state: tuple[dict[str, float], tuple[Any, ...]], days: float, changes: Mapping[str, npt.ArrayLike]
    ) -> tuple[dict[str, float], tuple[Any, ...]]:
        given, steps = state
        step = (f"{days!r} d", {name: float(np.ravel(value)[0]) for name, value in changes.items()})
        return given, (*steps, step)

    def read(self, state: tuple[dict[str, float], tuple[Any, ...]], outputs: Sequence[str]) -> Numbers:
        given, steps = state
        course = kin.simulate(
            self._model,
            kin.Experiment.steps(*steps),
            [steps[-1][0]],
            tuple(outputs),
            solver=self._solver,
            parameters=given,
        )
        return {name: np.array([course[name][-1]]) for name in outputs}


@dataclass(frozen=True)
class Setting:
    """What the experiments are carried out with: constants, exposures, and what the signalling model says."""

    values: Mapping[str, FloatArray]  # by name of a declared range, (n_sets,) each
    fixed: Mapping[str, float]  # further constants of the model
    laws: Mapping[str, Response]  # by subset
    other_memory: Response  # memory CD8 with the receptor numbers of naive CD8
    effect: DrugEffect
    in_vitro: float  # unbound imatinib at 3 uM in medium with serum, uM

    @property
    def size(self) -> int:
        return max(len(value) for value in self.values.values())

    def constants(self, **changes: npt.ArrayLike) -> dict[str, npt.ArrayLike]:
        """Constants of the T-cell model, coupling included, with the start at the healthy level of IL-7."""
        own = {
            name: value
            for name, value in self.values.items()
            if name not in (*EXPOSURES, "IL7_lymphopenic", "CD4_input_rel")
        }
        coupled = tone.as_parameters(self.laws)
        return {**self.fixed, **coupled, **own, "IL7_start": self.values["IL7_healthy"], **changes}

    def only(self, which: npt.NDArray[np.bool_]) -> Setting:
        """The sets chosen by a mask."""
        return replace(self, values={name: value[which] for name, value in self.values.items()})

    def dosing(self, who: str) -> pk.OralDosing:
        """The regimen of patients or of mice, with the exposures of the sets."""
        end = f"_{who}"
        return pk.bundled(
            who, **{k.removesuffix(end): v for k, v in self.values.items() if k in EXPOSURES and k.endswith(end)}
        )

    def treated(self, who: str) -> dict[str, FloatArray]:
        """Kinase activity and TCR tone averaged over a dosing interval, as constants of the T-cell model."""
        unbound = tone.over_interval(self.dosing(who), self.effect)
        return {
            "kinase_activity": np.mean(self.effect.activity_at(unbound), axis=0),
            "TCR_tone": np.mean(self.effect.tcr_at(unbound), axis=0),
        }


def transfer(runs: Runs, setting: Setting) -> Numbers:
    """B13 and B14: seven days in a mouse without lymphocytes, with and without imatinib."""
    variant = dict(catalogue.find_model("tcell_homeostasis").variants["mouse_transfer"].values)
    start = runs.start(
        {**setting.constants(), **variant, "IL7_start": setting.values["IL7_lymphopenic"]}, transfer=True
    )
    outputs = [f"{what}_{lineage}" for what in ("labelled", "divisions") for lineage in LINEAGES]
    vehicle, drug = (
        runs.read(runs.advance(start, TRANSFER_DAYS, changes), (*outputs, "IL7_level"))
        for changes in ({}, setting.treated("mouse"))
    )
    numbers = {"kinase_activity_mouse": setting.treated("mouse")["kinase_activity"]}
    for lineage in LINEAGES:
        numbers |= {
            f"count_ratio_{lineage}": drug[f"labelled_{lineage}"] / vehicle[f"labelled_{lineage}"],
            f"division_ratio_{lineage}": drug[f"divisions_{lineage}"] / vehicle[f"divisions_{lineage}"],
            f"divisions_{lineage}": vehicle[f"divisions_{lineage}"],
            f"expansion_{lineage}": vehicle[f"labelled_{lineage}"] / variant[f"transferred_{lineage}"],
        }
    return numbers


@dataclass(frozen=True)
class Patient:
    """A patient under imatinib, to go on with."""

    state: Any
    counts: Numbers
    diagnosis: Numbers


def patient(
    runs: Runs, setting: Setting, changes: Mapping[str, npt.ArrayLike] | None = None, *, memory: Response | None = None
) -> Patient:
    """Disease, then imatinib for the median time of the paper.

    Args:
        changes: what imatinib does; default: what the exposure of patients leaves of kinase activity and TCR tone.
        memory: how memory CD8 cells respond, if not as they are by default.
    """
    other = tone.as_parameters({"memory_CD8": memory}) if memory else {}
    start = runs.start({**setting.constants(), **other})
    ill = runs.advance(start, DISEASE_DAYS, {"CD4_input_rel": setting.values["CD4_input_rel"]})
    diagnosis = runs.read(ill, (*_COUNTS, *_TONES, *_SUPPLIES))
    treated = runs.advance(ill, PATIENT_DAYS, setting.treated("human") if changes is None else changes)
    return Patient(treated, runs.read(treated, (*_COUNTS, *_TONES)), diagnosis)


def cohort(runs: Runs, setting: Setting) -> tuple[Numbers, Patient]:
    """B16-B19: counts at diagnosis, under imatinib, and under imatinib that acts on the TCR alone."""
    main = patient(runs, setting)
    dx, on = main.diagnosis, main.counts
    n = setting.size
    numbers: Numbers = {
        "CD4_at_diagnosis": dx["CD4"] / _healthy(setting, "CD4"),
        "CD8_at_diagnosis": dx["CD8"] / _healthy(setting, "CD8"),
        "smallest_supply": np.min([dx[name] for name in _SUPPLIES], axis=0),  # negative: no healthy steady state
        "CD4_ratio": on["CD4"] / dx["CD4"],
        "IL7_ratio": on["IL7_level"] / dx["IL7_level"],
        "kinase_activity_human": np.broadcast_to(setting.treated("human")["kinase_activity"], (n,)),
        **{f"{cells}_ratio": on[cells] / dx[cells] for cells in SUBSETS},
        **{f"subset_at_diagnosis_{cells}": dx[cells] / float(setting.fixed[f"count_{cells}"]) for cells in SUBSETS},
    }
    usual = patient(runs, setting, memory=setting.other_memory)
    numbers |= {
        f"{cells}_ratio_usual_receptors": usual.counts[cells] / usual.diagnosis[cells]
        for cells in ("naive_CD8", "memory_CD8")
    }
    tcr = setting.treated("human")["TCR_tone"]
    strong = setting.effect.tcr_at(setting.in_vitro)
    for name, left in (("TCR_only", tcr), ("strong_TCR_only", strong)):
        only = patient(runs, setting, {"TCR_tone": np.broadcast_to(left, (n,))})
        numbers |= {
            f"{name}_{cells}": only.counts[cells] / only.diagnosis[cells] for cells in ("naive_CD8", "memory_CD8")
        }
    return numbers, main


def supplies(batch: Batch, setting: Setting) -> FloatArray:
    """The smallest supply of a subset in health; negative where division exceeds death: no healthy steady state."""
    found = batch.start(setting.constants()).read(_SUPPLIES)
    return np.asarray(np.min(list(found.values()), axis=0), dtype=float)


def _healthy(setting: Setting, lineage: str) -> float:
    return sum(float(setting.fixed[f"count_{age}_{lineage}"]) for age in ("naive", "memory"))


def therapy(runs: Runs, main: Patient, per_mass: float, times: float, weeks: float) -> Numbers:
    """B20: T cells of a patient under imatinib after weeks of IL-7 held at a multiple of its level."""
    level = times * main.counts["IL7_level"] * per_mass
    after = runs.read(runs.advance(main.state, 7.0 * weeks, {"IL7": level, "IL7_held": 1.0}), _COUNTS)
    return {f"therapy_{what}": after[what] / main.counts[what] for what in ("T_cells", "CD4", "CD8")}


def lymphopenia(runs: Runs, main: Patient, factor: float) -> Numbers:
    """B21 and B22: T cells of a patient under imatinib are cut to a tenth; usual and lower production of IL-7."""
    cut = {cells: DEPLETION * main.counts[cells] for cells in SUBSETS}
    found = {
        name: runs.read(
            runs.advance(main.state, LYMPHOPENIA_DAYS, {**cut, "IL7_production_rel": rel}), (*_COUNTS, *_TONES)
        )
        for name, rel in (("usual", 1.0), ("low", 1.0 / factor))
    }
    before = main.counts
    numbers: Numbers = {}
    for name, after in found.items():
        numbers |= {
            f"IL7_rise_{name}": after["IL7_level"] / before["IL7_level"],
            f"T_cells_{name}": after["T_cells"] / before["T_cells"],
            **{f"{t}_rise_{name}": after[t] / before[t] for t in _TONES},
            **{f"{t}_{name}": after[t] for t in _TONES},
        }
    # What imatinib's own lymphopenia does, from diagnosis on.
    numbers["IL7_rise_own"] = before["IL7_level"] / main.diagnosis["IL7_level"]
    return numbers


def rates(batch: Batch, setting: Setting) -> Numbers:
    """B11 and B12: how death and division depend on IL-7 and TCR input, in an empty mouse."""
    empty = {f"count_{cells}": 0.0 for cells in SUBSETS}
    start = batch.start({**setting.constants(), **empty, "pace": 1.0})
    per_mass = start.constants["IL7_per_mass"]
    names = (*(f"death_{cells}" for cells in SUBSETS), *(f"division_{cells}" for cells in SUBSETS))

    def at(levels: FloatArray, **changes: npt.ArrayLike) -> dict[str, FloatArray]:
        found = [start.changed({"IL7": level * per_mass, **changes}).read(names) for level in levels]
        return {name: np.array([item[name] for item in found]) for name in names}  # (n_levels, n_sets)

    scored = np.array([10.0, 100.0, 1000.0, 10000.0])  # pg/ml: 0.01-10 ng/ml
    low = np.array([20.0, 50.0, 100.0])
    untreated, treated = at(low), at(low, kinase_activity=setting.treated("human")["kinase_activity"])
    none = at(np.zeros(1))
    with_tcr, without = at(scored), at(scored, TCR_tone=0.0)
    nothing = at(np.zeros(1), TCR_tone=0.0)
    curve = at(_LEVELS)
    numbers: Numbers = {}
    for cells in SUBSETS:
        death, division = f"death_{cells}", f"division_{cells}"
        alive = _half_maximum(none[death][0] - curve[death])
        dividing = _half_maximum(curve[division] - none[division][0])
        synergy = with_tcr[division] + nothing[division] - without[division] - none[division]
        numbers |= {
            f"death_falls_{cells}": np.min(none[death] - untreated[death], axis=0),
            f"death_steps_{cells}": np.min(-np.diff(untreated[death], axis=0), axis=0),
            f"drug_death_{cells}": np.min(treated[death] - untreated[death], axis=0),
            f"death_0.02_{cells}": untreated[death][0],
            f"death_0.02_drug_{cells}": treated[death][0],
            f"survival_ec50_{cells}": alive,
            f"division_ec50_{cells}": dividing,
            f"synergy_{cells}": np.min(synergy, axis=0),
            f"synergy_10_{cells}": synergy[-1],
        }
    return numbers


def _half_maximum(effect: FloatArray) -> FloatArray:
    """The level at which each column of an effect rising over `_LEVELS` is at half of its last value; NaN if never."""
    logs, found = np.log(_LEVELS), np.full(effect.shape[1], np.nan)
    half = 0.5 * effect[-1]
    for k in range(effect.shape[1]):
        above = np.flatnonzero(effect[:, k] >= half[k])
        if len(above) and above[0] > 0 and half[k] > 0.0:
            i = int(above[0])
            low, high = effect[i - 1, k], effect[i, k]
            found[k] = np.exp(logs[i - 1] + (half[k] - low) / (high - low) * (logs[i] - logs[i - 1]))
    return found


def tcr_in_vivo(setting: Setting) -> Numbers:
    """B15: TCR tone over a dosing interval, and what the exposures of patients and of mice make of it."""
    effect = setting.effect
    numbers: Numbers = {}
    for who in ("human", "mouse"):
        unbound = tone.over_interval(setting.dosing(who), effect)
        for name, given in (("weak", tone.WEAK_TCR), ("half", tone.HALF_MAXIMAL_TCR)):
            course = effect.tcr_at(unbound, given)
            numbers |= {f"{who}_{name}": np.mean(course, axis=0), f"{who}_{name}_lowest": np.min(course, axis=0)}
        numbers[f"{who}_unbound"] = np.mean(unbound, axis=0)
    return {name: np.broadcast_to(value, (setting.size,)).astype(float) for name, value in numbers.items()}


@dataclass(frozen=True)
class Culture:
    """IL-7 that CD8 cells leave in the medium: what X06 needs of the signalling model."""

    doses: FloatArray  # (n_doses,), ng/ml
    levels: Mapping[
        float, FloatArray
    ]  # cells/ml -> (n_doses, n_times), ng/ml, at the middles of equal parts of the time


def proliferation_ec50(batch: Batch, setting: Setting, culture: Culture) -> Numbers:
    """Dose of IL-7 for half of the PI3K drive of the highest dose, averaged over the culture; ng/ml, by density."""
    start = batch.start({name: value for name, value in setting.constants().items()})
    per_mass = start.constants["IL7_per_mass"]
    numbers: Numbers = {}
    for density, levels in culture.levels.items():
        drive = np.array(
            [
                np.mean(
                    [start.changed({"IL7": 1e3 * level * per_mass}).read(["PI3K"])["PI3K"] for level in row],
                    axis=0,
                )
                for row in levels
            ]
        )  # (n_doses, n_sets)
        logs, half = np.log(culture.doses), 0.5 * drive[-1]
        ec50 = [np.exp(np.interp(half[k], drive[:, k], logs)) for k in range(drive.shape[1])]
        numbers[f"ec50_proliferation_{density:.0e}"] = np.array(ec50)
    return numbers
