"""Checks of the claims about steroid resistance in T-ALL: the criteria of `fits.steroid`, on the models of the bench.

The value of a claim is every number of its criteria beside its bound; what else a reader wants to know comes after.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping

import numpy as np

import kinetics as kin
from fits.claims.bench import Bench
from fits.claims.ledger import find_claim
from fits.claims.registry import Check, Finding, answers
from fits.steroid import screens
from fits.steroid.arms import MODEL, Arm, FloatArray, line, viability
from fits.steroid.criteria import CORE, SECONDARY, Recorder, criteria, stack
from fits.steroid.drug_criteria import BEZ235, INHIBITORS, bliss, over_inhibitor, panel
from fits.steroid.laboratory import Laboratory
from fits.steroid.line_criteria import nodes
from fits.steroid.lines import IL7_RESCUE, PREDNISOLONE_DOSES, RESISTANT, dexed, fold, predded, with_il7
from fits.steroid.panel import Sample, design, random_panels

Said = tuple[str, dict[str, float]]  # further words, and the numbers in them by name
CURVE_DOSES = tuple(sorted({*PREDNISOLONE_DOSES, 5.0, 640.0, 3000.0, 1e4}))  # nM
RANDOM_PANELS = 1000


def laboratory(bench: Bench) -> Laboratory:
    """The laboratory of the bench's steroid model, one for all claims.

    Raises:
        NotAnswered: the model is not on the bench.
    """
    model = bench.model("M2")
    known = model.description.entities
    overrides = {name: value for name, value in bench.parameters.items() if name in known}
    return bench.kept(MODEL, lambda: Laboratory(model, overrides, bench.solver))


def _number(values: FloatArray) -> float:
    return float(values[0])  # a laboratory has one parameter set


def _check(claim: str) -> Check:
    def check(bench: Bench, limits: Mapping[str, float]) -> Finding:
        lab = laboratory(bench)
        lab.prepare([claim])
        with np.errstate(divide="ignore", invalid="ignore"):  # a ratio to nothing is NaN or infinite and does not hold
            found = criteria()[claim](lab, limits)
            words, more = _FURTHER[claim](lab) if claim in _FURTHER else ("", {})
        numbers = {criterion.name: _number(criterion.value) for criterion in found}
        said = [f"{criterion.name} {numbers[criterion.name]:.3g} ({criterion.bounds})" for criterion in found]
        holds = all(bool(criterion.holds[0]) for criterion in found)
        return Finding(holds, "; ".join([*said, *([words] if words else [])]), {**numbers, **more})

    return check


# ---- what else there is to say -----------------------------------------------------------------------------


def curve(lab: Laboratory, name: str) -> kin.DoseResponseCurve:
    """Viability of a line over prednisolone, 72 h."""
    arms = [line(name).given(Prednisolone=dose) for dose in CURVE_DOSES]
    lab.simulate([line(name), *arms])
    left = np.array([_number(viability(lab, arm)) for arm in arms])
    return kin.DoseResponseCurve(
        np.array(CURVE_DOSES),
        left,
        "nM",
        "dimensionless",
        "Prednisolone",
        "viability",
        name,
        lab.model.name,
        lab.solver,
    )


def shift(lab: Laboratory, name: str) -> kin.Shift:
    """The prednisolone curve of a line beside that of the parental one."""
    return kin.compare(curve(lab, "parental"), curve(lab, name))


def _shifted(name: str, lab: Laboratory) -> Said:
    found = shift(lab, name)
    return str(found), {"ec50_ratio": found.dose_ratio, "emax_ratio": found.emax_ratio}


def _all_shifts(lab: Laboratory) -> Said:
    found = {name: shift(lab, name) for name in RESISTANT}
    by_verdict = itertools.groupby(
        sorted(found, key=lambda name: found[name].verdict), lambda name: found[name].verdict
    )
    words = "; ".join(f"{', '.join(names)}: {verdict}" for verdict, names in by_verdict)
    return f"prednisolone curves beside parental: {words}", {
        f"ec50_ratio_{name}": one.dose_ratio for name, one in found.items()
    }


def _with_il7(lab: Laboratory) -> Said:
    value = _number(viability(lab, with_il7(predded("wtIL7R"), IL7_RESCUE)))
    words = f"with IL-7 {IL7_RESCUE:g} ng/ml the same line keeps {value:.3g}: it resists once IL-7 is there"
    return words, {"viability of wtIL7R with IL-7": value}


def _screened_steroids(lab: Laboratory) -> Said:
    """The medians of the samples at hand, recomputed, with their number."""
    found = {drug: screens.summaries()[drug] for drug in ("dexamethasone", "prednisolone")}
    ratios = screens.potency_ratios()
    numbers = {f"median EC50 of samples, {drug}": each.median_ec50 for drug, each in found.items()}
    numbers["median prednisolone/dexamethasone ratio of samples"] = float(np.median(list(ratios.values())))
    words = "; ".join(f"{drug} in samples: {each.words}" for drug, each in found.items())
    ratio = numbers["median prednisolone/dexamethasone ratio of samples"]
    return f"{words}; ratio median {ratio:.3g} in {len(ratios)} samples with both", numbers


def _screened_inhibitors(lab: Laboratory) -> Said:
    """Samples under single agents beside the model, misfits included."""
    found = [each for each in screens.compared(lab) if each.drug not in ("dexamethasone", "prednisolone")]
    numbers = {f"{each.drug}, {each.what}, samples": each.measured for each in found}
    return " ".join(each.sentence for each in found), numbers


def _nodes(lab: Laboratory) -> Said:
    found = {node: _number(value) for node, value in nodes(lab).items()}
    return "viability by node: " + ", ".join(f"{node} {value:.3g}" for node, value in found.items()), found


def _over_inhibitor(pairs: Mapping[str, Arm], lab: Laboratory) -> Said:
    """Viability over the inhibitor alone, beside the one over vehicle, for lines with a criterion and without."""
    words: list[str] = []
    numbers: dict[str, float] = {}
    for name, arm in pairs.items():
        vehicle, alone = _number(viability(lab, arm)), _number(over_inhibitor(lab, arm))
        words.append(f"{name} {vehicle:.3g} over vehicle, {alone:.3g} over the inhibitor alone")
        numbers |= {f"{name} over vehicle": vehicle, f"{name} over inhibitor": alone}
    return "; ".join(words), numbers


def _treated(names: tuple[str, ...], drug: str) -> Mapping[str, Arm]:
    return {name: predded(name).given(**INHIBITORS[drug]) for name in names}


def _matrix(lab: Laboratory) -> Said:
    """All inhibitors on all resistant lines, as the protocol asks."""
    pairs = list(itertools.product(INHIBITORS, RESISTANT))
    arms = {pair: predded(pair[1]).given(**INHIBITORS[pair[0]]) for pair in pairs}
    lab.simulate(arms.values())
    numbers = {f"{drug} {name}": _number(viability(lab, arms[drug, name])) for drug, name in pairs}
    rows = [
        f"{drug}: " + ", ".join(f"{name} {numbers[f'{drug} {name}']:.2g}" for name in RESISTANT) for drug in INHIBITORS
    ]
    return "with prednisolone, " + "; ".join(rows), numbers


def _bim_over_dexamethasone(lab: Laboratory) -> Said:
    numbers = {
        name: _number(fold(lab, dexed(name).given(BEZ235=BEZ235), dexed(name), "BIM_total", 24.0))
        for name in ("mNRAS", "oeAKT")
    }
    words = ", ".join(f"{value:.3g} in {name}" for name, value in numbers.items())
    return f"total BIM over dex alone {words}", {f"total BIM over dex alone, {name}": v for name, v in numbers.items()}


def _panels(pathways: tuple[str, ...], il7: float, holds: Callable[[FloatArray], FloatArray], lab: Laboratory) -> Said:
    """Counts in the committed panel, and in how many random panels the claim holds; ``holds`` judges counts."""
    plan, cut = design(), find_claim("A40").thresholds["cut"]
    grid = [[Sample(kind, level) for level in range(len(plan.levels))] for kind in plan.frequencies]
    recorder = Recorder()
    for row, pathway in itertools.product(grid, pathways):
        for sample in row:
            bliss(recorder, sample, pathway, il7)
    lab.simulate((arm for arm, _, _ in recorder.asked), ["live"])
    words: list[str] = []
    numbers: dict[str, float] = {}
    excess: dict[str, FloatArray] = {}
    for pathway in pathways:
        numbers[pathway] = float(np.sum(panel(lab, pathway, il7) > cut))
        words.append(f"{pathway} {numbers[pathway]:.0f} of {len(plan.samples)} beyond {cut:g}")
        excess[pathway] = np.array([stack(bliss(lab, s, pathway, il7) for s in row)[0] for row in grid])
    for scenario in ("", *plan.scenarios):
        _, drawn = random_panels(RANDOM_PANELS, scenario)
        kept = [holds(np.sum(values[drawn[..., 0], drawn[..., 1]] > cut, axis=1)) for values in excess.values()]
        share = float(np.mean(np.all(kept, axis=0)))
        words.append(f"holds in {share:.1%} of {RANDOM_PANELS} random panels{f' ({scenario})' if scenario else ''}")
        numbers[f"share{f'_{scenario}' if scenario else ''}"] = share
    return "; ".join(words), numbers


def _at_least(claim: str, counts: FloatArray) -> FloatArray:
    return np.asarray(counts >= find_claim(claim).thresholds["smallest_number"])


def _at_most(claim: str, counts: FloatArray) -> FloatArray:
    return np.asarray(counts <= find_claim(claim).thresholds["largest_number"])


_FURTHER: Mapping[str, Callable[[Laboratory], Said]] = {
    **{f"A{number}": functools.partial(_shifted, name) for number, name in enumerate(RESISTANT, start=10)},
    "A18": _with_il7,
    "A21": _all_shifts,
    "A23": _nodes,
    "A34": functools.partial(_over_inhibitor, _treated(("mNRAS", "mIL7R"), "CI-1040")),
    "A35": functools.partial(_over_inhibitor, _treated(("oeAKT", "mIL7R"), "MK-2206")),
    "A36": _matrix,
    "A40": functools.partial(_panels, ("MEK", "AKT", "PI3K/mTOR"), 0.0, functools.partial(_at_least, "A40")),
    "A41": functools.partial(_panels, ("JAK",), 0.0, functools.partial(_at_most, "A41")),
    "A42": functools.partial(_panels, ("JAK",), design().il7, functools.partial(_at_least, "A42")),
    "A44": _bim_over_dexamethasone,
    "X07": _screened_steroids,
    "X08": _screened_inhibitors,
}

for _claim in (*CORE, *SECONDARY):
    answers(_claim)(_check(_claim))
