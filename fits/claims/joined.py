"""Claims that need the signalling model and the T-cell model together: each answers its part."""

from __future__ import annotations

import numpy as np

import kinetics as kin
from fits.claims import homeostasis, tcells
from fits.claims.bench import Bench
from fits.claims.homeostasis import Limits, Numbers
from fits.claims.imatinib import DENSITIES, bcl2_rises, erk_left, first_step
from fits.claims.registry import Finding, answers
from fits.claims.tcells import Setting
from kinetics import pk, tone
from kinetics.tone import SUBSETS


@answers("B11")
def supports_survival(bench: Bench, limits: Limits) -> Finding:
    """BCL2 rises with IL-7 and imatinib lowers it; death falls with IL-7 and imatinib raises it."""
    rises, text, numbers = bcl2_rises(bench)
    follows, said, rates = deaths(bench, limits)
    return Finding(rises and follows, f"{text}; {said}", {**numbers, **rates})


@answers("B15")
def tcr_tone(bench: Bench, limits: Limits) -> Finding:
    """ppERK in vivo, averaged over a dosing interval, and in vitro."""
    numbers = {**tcells.tcr_in_vivo(homeostasis.setting_of(bench)), "in_vitro": np.array([erk_left(bench)])}
    effect = homeostasis.setting_of(bench).effect
    for name, unbound in zip(("lowest_exposure", "highest_exposure"), tcells.UNBOUND_RANGE, strict=True):
        numbers[f"human_weak_{name}"] = np.atleast_1d(effect.tcr_at(unbound))
    for name, ends in (("lowest_exposure", 0), ("highest_exposure", 1)):
        given = {key: item.range[ends] for key, item in pk.regimens()["mouse"].items() if item.range}
        course = effect.tcr_at(tone.over_interval(pk.bundled("mouse", **given), effect))
        numbers[f"mouse_weak_{name}"] = np.atleast_1d(np.mean(course))
    text = "; ".join(
        f"{who} {numbers[f'{who}_weak'][0]:.3g} at weak and {numbers[f'{who}_half'][0]:.3g} at half-maximal TCR input "
        f"(within an interval down to {numbers[f'{who}_weak_lowest'][0]:.3g}; over the exposures "
        f"{numbers[f'{who}_weak_highest_exposure'][0]:.3g}-{numbers[f'{who}_weak_lowest_exposure'][0]:.3g})"
        for who in ("human", "mouse")
    )
    text += f"; in vitro {numbers['in_vitro'][0]:.3g}"
    return homeostasis.finding(homeostasis.tcr_functional(numbers, limits), text, numbers)


def deaths(bench: Bench, limits: Limits) -> tuple[bool, str, dict[str, float]]:
    """B11: what the T-cell model adds."""
    numbers = homeostasis.rates_of(bench)
    names = tuple(f"{what}_{cells}" for what in ("death_0.02", "death_0.02_drug") for cells in SUBSETS)
    text = "death per day at 0.02 ng/ml, control and imatinib in vivo: " + ", ".join(
        f"{cells.replace('_', ' ')} {alone:.3g} and {drug:.3g}"
        for cells in SUBSETS
        for alone, drug in [(numbers[f"death_0.02_{cells}"][0], numbers[f"death_0.02_drug_{cells}"][0])]
    )
    return (
        bool(homeostasis.death_follows_tone(numbers, limits)[0]),
        text,
        {name: float(numbers[name][0]) for name in names},
    )


def culture_of(bench: Bench) -> tcells.Culture:
    """IL-7 left in the medium by bulk CD8 cells over the culture, from the signalling model."""

    def make() -> tcells.Culture:
        model = bench.cells("CD8")
        doses = np.geomspace(1e-3, 1e2, 41)  # ng/ml
        points = 24
        middles = (np.arange(points) + 0.5) * (60.0 * tcells.CULTURE_HOURS / points)  # min
        levels = {}
        for density in DENSITIES:
            experiments = [
                kin.Experiment.steps((f"{tcells.CULTURE_HOURS!r} h", {"IL7": f"{dose!r} ng/ml"}))
                for dose in doses.tolist()
            ]
            courses = kin.simulate_many(
                model,
                experiments,
                [0.0, *middles.tolist()],
                ["IL7"],
                solver=bench.solver,
                parameters=bench.settings("CD8", {"cell_density": density}),
            )
            left = np.array([course["IL7"][1:] / course["IL7"][0] for course in courses])
            levels[density] = doses[:, None] * np.maximum(left, 0.0)
        return tcells.Culture(doses, levels)

    return homeostasis.kept(bench, "culture", make)


@answers("X06")
def ladder(bench: Bench, limits: Limits) -> Finding:
    """From pSTAT5 to BCL2 in the signalling model, from BCL2 to proliferation with the T-cell model's law."""
    first, text, numbers = first_step(bench, limits)
    found = proliferation_numbers(bench, homeostasis.setting_of(bench))
    second = bool(homeostasis.ladder_step(found, limits)[0])
    said = "EC50 of proliferation over that of BCL2 in CD8: " + ", ".join(
        f"{found[f'step_{density:.0e}'][0]:.3g}" for density in DENSITIES
    )
    more = {name: float(value[0]) for name, value in found.items()}
    return Finding(first and second, f"{text}; {said}", {**numbers, **more})


def proliferation_numbers(bench: Bench, setting: Setting) -> Numbers:
    """EC50 of the PI3K drive in culture (ng/ml), and over that of BCL2, by density; shape ``(n_sets,)`` each."""
    bcl2 = first_step(bench, {"smallest_ratio": 0.0})[2]
    found = tcells.proliferation_ec50(homeostasis.batch_of(bench), setting, culture_of(bench))
    return found | {
        f"step_{d:.0e}": found[f"ec50_proliferation_{d:.0e}"] / bcl2[f"ec50_BCL2_CD8_{d:.0e}"] for d in DENSITIES
    }
