"""Checks of the claims about T-cell numbers under imatinib: a criterion each, for one parameter set or for many.

The numbers come from `fits.claims.tcells`.  A criterion takes them as arrays, so that the verdict (one set, on the
engine) and the share of draws (`fits.claims.draws`) cannot use different ones.  Comparisons are written so that NaN
does not pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np
import numpy.typing as npt

import kinetics as kin
from fits.claims import tcells
from fits.claims.bench import Bench
from fits.claims.ledger import MODELS, declared_ranges, find_claim
from fits.claims.registry import Finding, answers
from fits.claims.tcells import LINEAGES, EngineRuns, Patient, Setting
from kinetics import catalogue, pk, tone
from kinetics.batch import Batch
from kinetics.errors import NoSteadyState
from kinetics.tone import SUBSETS

BoolArray = npt.NDArray[np.bool_]
Limits = Mapping[str, float]
Numbers = tcells.Numbers
Criterion = Callable[[Numbers, Limits], BoolArray]
CD8 = ("naive_CD8", "memory_CD8")
NEEDING_TCR = ("naive_CD4", "memory_CD4", "naive_CD8")  # memory CD8 cells are independent of TCR contact
T = TypeVar("T")


# ---- what the bench gives --------------------------------------------------------------------------------


def kept(bench: Bench, what: str, make: Callable[[], T]) -> T:
    """Compute once per bench."""
    return bench.kept(f"tcells: {what}", make)


def setting_of(bench: Bench) -> Setting:
    """The values of the models on the bench, with its overrides.

    Raises:
        NotAnswered: one of the two models is missing.
    """
    return kept(
        bench, "setting", lambda: make_setting(bench.model("M1"), bench.model("M3"), bench.parameters, bench.solver)
    )


def make_setting(
    signalling: kin.Model,
    numbers: kin.Model,
    parameters: Mapping[str, float] | None = None,
    solver: kin.Solver | None = None,
) -> Setting:
    """One parameter set: the values of the two models, overrides, and the bundled exposures."""
    given = dict(parameters or {})
    known = numbers.description.entities
    variants = catalogue.find_model(numbers.name).variants

    def value(name: str) -> float:
        if name in tcells.EXPOSURES:
            number, who = name.rsplit("_", 1)
            return pk.regimens()[who][number].value
        if name == "IL7_lymphopenic":
            return variants["mouse_transfer"].values["IL7_start"]
        if name == "CD4_input_rel":
            return given.get(name, variants["leukaemia"].values[name])
        return given.get(name, float(numbers.entity(name).value or 0.0))

    values = {name: np.array([value(name)]) for name in declared_ranges("tcell_homeostasis")}
    counts = {f"count_{cells}": float(numbers.entity(f"count_{cells}").value or 0.0) for cells in SUBSETS}
    taken = {"IL7_start", "kinase_activity", "TCR_tone", *values}
    fixed = {**counts, **{name: v for name, v in given.items() if name in known and name not in taken}}
    laws = tone.responses(signalling, parameters=given, solver=solver)
    in_vitro = 3.0 * given.get("fu", float(signalling.entity("fu").value or 0.0))
    effect = tone.drug_effect(signalling, parameters=given, solver=solver)
    return Setting(values, fixed, laws, laws["naive_CD8"], effect, in_vitro)


def _runs(bench: Bench) -> EngineRuns:
    return EngineRuns(bench.model("M3"), bench.solver)


def batch_of(bench: Bench) -> Batch:
    """The T-cell model compiled for arrays: for rates at a state, which need no integration."""
    return kept(bench, "batch", lambda: Batch(bench.model("M3")))


def _cohort(bench: Bench) -> tuple[Numbers, Patient]:
    def make() -> tuple[Numbers, Patient]:
        setting = setting_of(bench)
        supply = tcells.supplies(batch_of(bench), setting)  # looked at first: a patient cannot be integrated without
        if supply[0] < 0.0:
            raise NoSteadyState(
                f"{MODELS['M3']}: division exceeds death in health with these values (supply "
                f"{supply[0]:.3g} cells/ul/day), so there is no healthy steady state to start from"
            )
        return tcells.cohort(_runs(bench), setting)

    return kept(bench, "cohort", make)


def _transfer(bench: Bench) -> Numbers:
    return kept(bench, "transfer", lambda: tcells.transfer(_runs(bench), setting_of(bench)))


def rates_of(bench: Bench) -> Numbers:
    """How death and division depend on IL-7 and TCR; B11 shares it with the signalling model's part."""
    return kept(bench, "rates", lambda: tcells.rates(batch_of(bench), setting_of(bench)))


def _lymphopenia(bench: Bench) -> Numbers:
    factor = find_claim("B22").thresholds["lower_production"]
    return kept(bench, "lymphopenia", lambda: tcells.lymphopenia(_runs(bench), _cohort(bench)[1], factor))


def finding(holds: BoolArray, text: str, numbers: Numbers, names: tuple[str, ...] = ()) -> Finding:
    """The finding of one set."""
    return Finding(bool(holds[0]), text, {name: float(numbers[name][0]) for name in names or numbers})


def each(numbers: Numbers, form: str, names: tuple[str, ...]) -> str:
    """``"naive CD4 0.51, memory CD4 0.49"``: the numbers whose names follow a pattern."""
    return ", ".join(f"{name.replace('_', ' ')} {float(numbers[form.format(name)][0]):.3g}" for name in names)


# ---- criteria ----------------------------------------------------------------------------------------------


def all_of(*parts: npt.ArrayLike) -> BoolArray:
    """Sets in which every part holds."""
    return np.asarray(np.logical_and.reduce(np.broadcast_arrays(*(np.asarray(p, dtype=bool) for p in parts))))


def death_follows_tone(numbers: Numbers, limits: Limits) -> BoolArray:
    """B11, the part of this model: death falls with IL-7 at 0.02-0.1 ng/ml, and imatinib raises it."""
    return all_of(
        *(
            numbers[f"{what}_{cells}"] > 0.0
            for what in ("death_falls", "death_steps", "drug_death")
            for cells in SUBSETS
        )
    )


def synergy(numbers: Numbers, limits: Limits) -> BoolArray:
    """B12."""
    return all_of(
        *(numbers[f"synergy_{cells}"] > 0.0 for cells in NEEDING_TCR),
        *(
            numbers[f"division_ec50_{cells}"] >= limits["smallest_ratio"] * numbers[f"survival_ec50_{cells}"]
            for cells in SUBSETS
        ),
    )


def fewer_cells(numbers: Numbers, limits: Limits) -> BoolArray:
    """B13."""
    return all_of(*(numbers[f"count_ratio_{lineage}"] <= limits["largest_ratio"] for lineage in LINEAGES))


def same_divisions(numbers: Numbers, limits: Limits) -> BoolArray:
    """B14."""
    low, high = limits["smallest_ratio"], limits["largest_ratio"]
    ratios = [numbers[f"division_ratio_{lineage}"] for lineage in LINEAGES]
    return all_of(*(ratio >= low for ratio in ratios), *(ratio <= high for ratio in ratios))


def tcr_functional(numbers: Numbers, limits: Limits) -> BoolArray:
    """B15: patients and mice, at a weak and at the half-maximal TCR input; in vitro at the latter, as in B08."""
    in_vivo = [numbers[f"{who}_{given}"] for who in ("human", "mouse") for given in ("weak", "half")]
    return all_of(
        *(value >= limits["smallest_in_vivo"] for value in in_vivo), numbers["in_vitro"] <= limits["largest_in_vitro"]
    )


def _healthy_start(numbers: Numbers) -> BoolArray:
    return np.asarray(numbers["smallest_supply"] >= 0.0)


def diagnosis(numbers: Numbers, limits: Limits) -> BoolArray:
    """B16."""
    change = np.abs(numbers["CD8_at_diagnosis"] - 1.0)
    lower = [numbers[f"subset_at_diagnosis_{cells}"] < 1.0 for cells in ("naive_CD4", "memory_CD4")]
    return all_of(_healthy_start(numbers), *lower, change <= limits["largest_change"])


def cd4_no_higher(numbers: Numbers, limits: Limits) -> BoolArray:
    """B17."""
    return all_of(_healthy_start(numbers), numbers["CD4_ratio"] <= 1.0)


def cd8_fall(numbers: Numbers, limits: Limits) -> BoolArray:
    """B18, with the receptor numbers of memory CD8 cells and with those of naive ones."""
    names = [f"{cells}_ratio{how}" for cells in CD8 for how in ("", "_usual_receptors")]
    return all_of(_healthy_start(numbers), *(numbers[name] <= limits["largest_ratio"] for name in names))


def tcr_alone_spares(numbers: Numbers, limits: Limits) -> BoolArray:
    """N06, and the first half of B19."""
    change = np.abs(numbers["TCR_only_memory_CD8"] - 1.0)
    return all_of(_healthy_start(numbers), change <= limits["largest_change"])


def tcr_alone_fails(numbers: Numbers, limits: Limits) -> BoolArray:
    """B19."""
    return all_of(tcr_alone_spares(numbers, limits), numbers["memory_CD8_ratio"] <= limits["largest_ratio"])


def therapy_raises(numbers: Numbers, limits: Limits) -> BoolArray:
    """B20."""
    return all_of(_healthy_start(numbers), numbers["therapy_T_cells"] >= limits["smallest_ratio"])


def rise_recovers(numbers: Numbers, limits: Limits) -> BoolArray:
    """B21."""
    return all_of(
        _healthy_start(numbers),
        numbers["IL7_rise_usual"] >= limits["smallest_rise"],
        numbers["T_cells_usual"] < 1.0,
        *(numbers[f"tone_{cells}_rise_usual"] > 1.0 for cells in SUBSETS),
    )


def low_production(numbers: Numbers, limits: Limits) -> BoolArray:
    """B22."""
    lower = [numbers[f"tone_{cells}_low"] < numbers[f"tone_{cells}_usual"] for cells in SUBSETS]
    return all_of(_healthy_start(numbers), numbers["T_cells_low"] < 1.0, *lower)


def ladder_step(numbers: Numbers, limits: Limits) -> BoolArray:
    """X06, the step from BCL2 to proliferation at 1e6 and 2e6 cells/ml."""
    return all_of(*(numbers[f"step_{density:.0e}"] >= limits["smallest_ratio"] for density in (1e6, 2e6)))


CRITERIA: Mapping[str, Criterion] = {
    "B11": death_follows_tone, "B12": synergy, "B13": fewer_cells, "B14": same_divisions, "B15": tcr_functional,
    "B16": diagnosis, "B17": cd4_no_higher, "B18": cd8_fall, "B19": tcr_alone_fails, "B20": therapy_raises,
    "B21": rise_recovers, "B22": low_production, "X06": ladder_step, "N06": tcr_alone_spares,
}  # fmt: skip


# ---- checks ------------------------------------------------------------------------------------------------


@answers("B12")
def proliferation(bench: Bench, limits: Limits) -> Finding:
    """Division over IL-7 and TCR input is more than the sum; its half-maximum lies above that of survival."""
    numbers = rates_of(bench)
    numbers = {
        **numbers,
        **{f"ec50_ratio_{c}": numbers[f"division_ec50_{c}"] / numbers[f"survival_ec50_{c}"] for c in SUBSETS},
    }
    text = (
        f"beyond the sum at 10 ng/ml: {each(numbers, 'synergy_10_{}', NEEDING_TCR)} divisions/day; "
        f"half-maximum of division over that of survival: {each(numbers, 'ec50_ratio_{}', SUBSETS)} (naive CD4 "
        f"{numbers['division_ec50_naive_CD4'][0]:.3g} and {numbers['survival_ec50_naive_CD4'][0]:.3g} pg/ml)"
    )
    return finding(synergy(numbers, limits), text, numbers)


@answers("B13")
def seven_days(bench: Bench, limits: Limits) -> Finding:
    """Transferred cells after seven days, imatinib over vehicle."""
    numbers = _transfer(bench)
    text = (
        f"imatinib over vehicle after 7 d: {each(numbers, 'count_ratio_{}', LINEAGES)}; kinase activity "
        f"{numbers['kinase_activity_mouse'][0]:.3g}, vehicle cells grow {numbers['expansion_CD4'][0]:.3g}x"
    )
    return finding(fewer_cells(numbers, limits), text, numbers)


@answers("B14")
def divisions(bench: Bench, limits: Limits) -> Finding:
    """Mean divisions of the survivors, imatinib over vehicle."""
    numbers = _transfer(bench)
    text = (
        f"mean divisions, imatinib over vehicle: {each(numbers, 'division_ratio_{}', LINEAGES)} "
        f"(vehicle CD4 {numbers['divisions_CD4'][0]:.3g})"
    )
    return finding(same_divisions(numbers, limits), text, numbers)


@answers("B16")
def at_diagnosis(bench: Bench, limits: Limits) -> Finding:
    """Counts at diagnosis relative to health."""
    numbers, _ = _cohort(bench)
    text = f"diagnosis over health: {each(numbers, '{}_at_diagnosis', LINEAGES)}"
    return finding(diagnosis(numbers, limits), text, numbers)


@answers("B17")
def cd4_under_imatinib(bench: Bench, limits: Limits) -> Finding:
    """CD4 count under imatinib relative to diagnosis."""
    numbers, _ = _cohort(bench)
    return finding(
        cd4_no_higher(numbers, limits), f"CD4 under imatinib over diagnosis: {numbers['CD4_ratio'][0]:.3g}", numbers
    )


@answers("B18")
def cd8_under_imatinib(bench: Bench, limits: Limits) -> Finding:
    """Naive and memory CD8 counts under imatinib relative to diagnosis."""
    numbers, _ = _cohort(bench)
    text = (
        f"under imatinib over diagnosis: {each(numbers, '{}_ratio', CD8)}; with the receptor numbers of "
        f"naive cells in memory CD8: {each(numbers, '{}_ratio_usual_receptors', CD8)}; kinase activity "
        f"{numbers['kinase_activity_human'][0]:.3g}, IL-7 {numbers['IL7_ratio'][0]:.3g}x"
    )
    return finding(cd8_fall(numbers, limits), text, numbers)


def _tcr_only(numbers: Numbers) -> str:
    return (
        f"TCR alone: {each(numbers, 'TCR_only_{}', CD8)} of diagnosis; blocked as in vitro: "
        f"{each(numbers, 'strong_TCR_only_{}', CD8)}"
    )


@answers("B19")
def tcr_only(bench: Bench, limits: Limits) -> Finding:
    """Memory CD8 cells when imatinib acts on the TCR alone, and when it acts on STAT5."""
    numbers, _ = _cohort(bench)
    text = f"{_tcr_only(numbers)}; with STAT5: memory CD8 {numbers['memory_CD8_ratio'][0]:.3g}"
    return finding(tcr_alone_fails(numbers, limits), text, numbers)


@answers("N06")
def tcr_only_control(bench: Bench, limits: Limits) -> Finding:
    """The first half of B19 on its own."""
    numbers, _ = _cohort(bench)
    return finding(tcr_alone_spares(numbers, limits), _tcr_only(numbers), numbers)


@answers("B20")
def il7_therapy(bench: Bench, limits: Limits) -> Finding:
    """Three weeks of ten times the IL-7 in a patient under imatinib."""
    base, main = _cohort(bench)
    per_mass = float(bench.model("M3").entity("IL7_per_mass").value or 0.0)
    found = tcells.therapy(_runs(bench), main, per_mass, limits["times_IL7"], limits["weeks"])
    numbers = {**found, "smallest_supply": base["smallest_supply"]}
    text = f"after 3 weeks over before: {each(numbers, 'therapy_{}', ('T_cells', 'CD4', 'CD8'))}"
    return finding(therapy_raises(numbers, limits), text, numbers)


@answers("B21")
def lymphopenic_rise(bench: Bench, limits: Limits) -> Finding:
    """IL-7 and pSTAT5 two weeks after the T cells of a patient under imatinib were cut to a tenth."""
    numbers = {**_lymphopenia(bench), "smallest_supply": _cohort(bench)[0]["smallest_supply"]}
    text = (
        f"IL-7 {numbers['IL7_rise_usual'][0]:.3g}x with {100.0 * numbers['T_cells_usual'][0]:.3g} % of the T cells; "
        f"pSTAT5 over health: {each(numbers, 'tone_{}_usual', SUBSETS)}; over that before: "
        f"{each(numbers, 'tone_{}_rise_usual', SUBSETS)}; imatinib's own lymphopenia raises IL-7 "
        f"{numbers['IL7_rise_own'][0]:.3g}x"
    )
    return finding(rise_recovers(numbers, limits), text, numbers)


@answers("B22")
def after_transplantation(bench: Bench, limits: Limits) -> Finding:
    """The same with a third of the IL-7 production."""
    numbers = {**_lymphopenia(bench), "smallest_supply": _cohort(bench)[0]["smallest_supply"]}
    text = (
        f"pSTAT5 over health: {each(numbers, 'tone_{}_low', SUBSETS)}; with the usual production "
        f"{each(numbers, 'tone_{}_usual', SUBSETS)}; IL-7 {numbers['IL7_rise_low'][0]:.3g}x"
    )
    return finding(low_production(numbers, limits), text, numbers)
