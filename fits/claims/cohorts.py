"""Checks of the claims about cohorts of T-ALL samples.  Who is drawn and what is done stands in ``cohorts.toml``.

Comparisons are written so that NaN does not pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from fits.claims.bench import Bench, ratio
from fits.claims.ledger import find_claim
from fits.claims.registry import Finding, answers
from fits.steroid.virtual import Indices, Virtual, design, simulate_samples
from kinetics.curves import dose_for

Numbers = Mapping[str, float]


def _virtual(bench: Bench) -> Virtual:
    """The virtual samples on this bench, simulated once for all claims."""
    model = bench.model("M2")
    overrides = {name: value for name, value in bench.parameters.items() if name in model.description.entities}
    return bench.kept("virtual samples", lambda: simulate_samples(model, overrides))


def _share(virtual: Virtual, cohort: str, met: Callable[[Indices], bool], among: int | None = None) -> float:
    """The part of the replicate cohorts in which something holds."""
    return float(np.mean([met(members) for members in virtual.replicates(cohort, among)]))


def _percent(share: float) -> str:
    return f"{100.0 * share:.3g} %"


@answers("A07")
def responses_vary(bench: Bench, limits: Numbers) -> Finding:
    """A cohort holds samples that die and samples that do not at saturating dexamethasone."""
    virtual = _virtual(bench)
    saturated = virtual.curves[:, -1]

    def both(members: Indices) -> bool:
        return bool(np.any(saturated[members] < limits["lowest"]) and np.any(saturated[members] > limits["highest"]))

    share = _share(virtual, "discovery", both, len(saturated))
    low, middle, high = (float(value) for value in np.quantile(saturated, (0.05, 0.5, 0.95)))
    sensitive, resistant = float(np.mean(saturated < limits["lowest"])), float(np.mean(saturated > limits["highest"]))
    text = (
        f"viability {low:.2g} to {high:.2g} (5 to 95 % of samples, median {middle:.2g}); {_percent(sensitive)} below "
        f"{limits['lowest']:g}, {_percent(resistant)} above {limits['highest']:g}; {_percent(share)} of replicate "
        "cohorts of 69 contain both"
    )
    numbers = {"share": share, "sensitive": sensitive, "resistant": resistant, "median": middle}
    return Finding(share > 0.5, text, numbers)


def _association(bench: Bench, cohort: str) -> Finding:
    """The criterion of A08: samples with a mutation of the panel survive prednisolone better."""
    limits = find_claim("A08").thresholds
    virtual = _virtual(bench)
    mutated = np.isin(virtual.mutation, design()["cohorts"][cohort]["panel"])

    def associated(members: Indices) -> bool:
        from scipy.stats import mannwhitneyu

        with_it = virtual.prednisolone[members[mutated[members]]]
        without = virtual.prednisolone[members[~mutated[members]]]
        if not (len(with_it) and len(without) and np.median(with_it) > np.median(without)):
            return False
        found = mannwhitneyu(with_it, without, alternative="greater", method="asymptotic")
        return bool(found.pvalue < limits["largest_p"])

    share = _share(virtual, cohort, associated)
    size, count = design()["cohorts"][cohort]["size"], design()["replicates"]
    medians = [float(np.median(virtual.prednisolone[group])) for group in (mutated, ~mutated)]
    have = _percent(float(np.mean(mutated)))
    text = (
        f"p < {limits['largest_p']:g} in {_percent(share)} of {count} replicate cohorts of {size}; median viability "
        f"{medians[0]:.3g} with, {medians[1]:.3g} without a mutation of the panel ({have} have one)"
    )
    return Finding(
        share >= limits["smallest_share"],
        text,
        {"share": share, "median_mutated": medians[0], "median_wild_type": medians[1]},
    )


@answers("A08")
def discovery_cohort(bench: Bench, limits: Numbers) -> Finding:
    """69 samples: mutations of the IL-7 receptor pathway go with resistance to prednisolone."""
    return _association(bench, "discovery")


@answers("A09")
def extended_cohort(bench: Bench, limits: Numbers) -> Finding:
    """146 samples: so does any mutation of the larger panel."""
    return _association(bench, "extended")


@answers("X01")
def niche(bench: Bench, limits: Numbers) -> Finding:
    """With IL-7 most samples survive dexamethasone, and ruxolitinib overcomes that in about half of those."""
    virtual, cut = _virtual(bench), design()["IL7_dexamethasone"]["resistant_above"]
    resistant = virtual.rescued > cut
    reversed_ = resistant & (virtual.inhibited <= cut)

    def parts(members: Indices) -> tuple[float, float]:
        count = float(np.count_nonzero(resistant[members]))
        return count / len(members), ratio(float(np.count_nonzero(reversed_[members])), count)

    def met(shares: tuple[float, float]) -> bool:
        near = zip(shares, (limits["resistant"], limits["reversed"]), strict=True)
        return all(abs(share - target) <= limits["margin"] for share, target in near)

    whole = parts(np.arange(len(resistant)))
    share = _share(virtual, "external", lambda members: met(parts(members)))
    text = (
        f"resistant with IL-7: {whole[0]:.3g}; overcome by ruxolitinib: {whole[1]:.3g} of them; both within the "
        f"margin in {_percent(share)} of replicate cohorts of 73"
    )
    return Finding(met(whole), text, {"resistant": whole[0], "reversed": whole[1], "share": share})


def _explained(cause: np.ndarray, effect: np.ndarray) -> float:
    """Squared correlation; NaN where either does not vary, or nobody is there."""
    if not len(cause):
        return math.nan
    spread = float(np.std(cause)) * float(np.std(effect))
    return float(np.mean((cause - cause.mean()) * (effect - effect.mean())) / spread) ** 2 if spread > 0.0 else math.nan


@answers("X02")
def emax_not_ec50(bench: Bench, limits: Numbers) -> Finding:
    """The area under a sample's dexamethasone curve is a matter of its Emax."""
    from scipy.integrate import trapezoid

    virtual = _virtual(bench)
    x = np.log10(virtual.doses)
    area = trapezoid(virtual.curves, x, axis=1) / (x[-1] - x[0])
    emax = 1.0 - virtual.curves[:, -1]
    ec50 = np.array([dose_for(virtual.doses, row, 0.5 * (1.0 + row[-1])) for row in virtual.curves])
    inside = np.isfinite(ec50)
    explained = _explained(emax, area)
    by_ec50 = _explained(np.log10(ec50[inside]), area[inside])
    share = _share(
        virtual,
        "discovery",
        lambda members: _explained(emax[members], area[members]) > limits["smallest_share"],
        len(area),
    )
    quartiles = np.quantile(ec50[inside], (0.25, 0.5, 0.75)) if inside.any() else np.full(3, math.nan)
    low, middle, high = (float(value) for value in quartiles)
    text = (
        f"Emax explains {_percent(explained)} of the variance of the area, log EC50 {_percent(by_ec50)}; SD of Emax "
        f"{float(np.std(emax)):.2g}; EC50 {middle:.3g} nM (quartiles {low:.3g}-{high:.3g}); above "
        f"{_percent(limits['smallest_share'])} in {_percent(share)} of replicate cohorts of 69"
    )
    numbers = {"explained": explained, "by_ec50": by_ec50, "ec50": middle, "share": share}
    return Finding(explained > limits["smallest_share"], text, numbers)
