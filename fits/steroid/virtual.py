"""Virtual cohorts of T-ALL samples, as ``cohorts.toml`` states them: simulated once, replicates drawn from them."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt

from fits.steroid.arms import Arm, Cells, FloatArray, il7, viability
from fits.steroid.many import Plan, requests
from kinetics.batch import Batch
from kinetics.cohort import Cohort
from kinetics.distributions import Categorical, LogNormal
from kinetics.model import Model

Indices = npt.NDArray[np.intp]
FEWEST = 0.01  # of the cells: where fewer live with vehicle alone, there is nothing to count, and the ratio is noise


@functools.cache
def design() -> Mapping[str, Any]:
    """The table ``cohorts.toml``."""
    return tomllib.loads(resources.files("fits.steroid").joinpath("cohorts.toml").read_text(encoding="utf-8"))


def samples() -> Cohort:
    """The virtual samples: a class of mutation, an anti-apoptotic pool, now and then a silenced BIM locus."""
    table = design()
    mutations, silenced = table["mutations"], table["spread"]["silenced_BIM"]
    return Cohort(
        {
            "mutation": Categorical(
                {name: row["frequency"] for name, row in mutations.items()},
                {name: row["values"] for name, row in mutations.items() if row["values"]},
            ),
            "fold_pool": LogNormal(1.0, table["spread"]["fold_pool"]["sd"]),
            "locus": Categorical(
                {"open": 1.0 - silenced["frequency"], "silenced": silenced["frequency"]},
                {"silenced": silenced["values"]},
                otherwise=dict.fromkeys(silenced["values"], 1.0),
            ),
        },
        n=table["pool_size"],
        seed=table["seed"],
    )


@dataclass(frozen=True, eq=False)
class Virtual:
    """What the virtual samples show; NaN where vehicle alone leaves next to no cells, or integration failed."""

    mutation: npt.NDArray[np.str_]  # (n,), class of each
    prednisolone: FloatArray  # (n,), viability
    curves: FloatArray  # (n_curves, n_doses), viability of the first samples under dexamethasone
    doses: FloatArray  # (n_doses,), nM
    rescued: FloatArray  # (n,), viability with dexamethasone and IL-7
    inhibited: FloatArray  # (n,), the same with ruxolitinib

    def replicates(self, cohort: str, among: int | None = None) -> Iterator[Indices]:
        """Replicate cohorts of a size in ``cohorts.toml``: numbers of samples, none twice, of the first ``among``."""
        size = design()["cohorts"][cohort]["size"]
        rng = np.random.default_rng([design()["replicate_seed"], size])
        for _ in range(design()["replicates"]):
            yield rng.choice(len(self.mutation) if among is None else among, size, replace=False)


def simulate_samples(model: Model, overrides: Mapping[str, float] | None = None, *, rtol: float = 1e-4) -> Virtual:
    """Simulate all virtual samples, thousands of lanes at a time; tens of seconds at most.

    Args:
        overrides: parameters of the model that replace its own; what is drawn wins over them.
    """
    table, batch, cohort = design(), Batch(model), samples()
    frame = cohort.frame()
    drawn = {name: frame[name].to_numpy(dtype=float) for name in cohort.quantities}
    sets = {**{name: np.full(cohort.n, value) for name, value in (overrides or {}).items()}, **drawn}

    steroid, dexamethasone, niche = table["prednisolone"], table["dexamethasone"], table["IL7_dexamethasone"]
    alone = Arm().given(Prednisolone=steroid["nM"])
    with_il7 = Arm().given(IL7=il7(niche["IL7_ng_per_ml"]), Dexamethasone=niche["dexamethasone_nM"])
    ruxolitinib = with_il7.given(Ruxolitinib=niche["ruxolitinib_nM"])

    def counted(cells: Cells, arm: Arm, hours: float) -> FloatArray:
        return np.where(cells(arm.vehicle, "live", hours) >= FEWEST, viability(cells, arm, hours), np.nan)

    def points(cells: Cells) -> list[FloatArray]:
        return [
            counted(cells, alone, steroid["hours"]),
            counted(cells, with_il7, niche["hours"]),
            counted(cells, ruxolitinib, niche["hours"]),
        ]

    def curve(cells: Cells) -> FloatArray:
        arms = [Arm().given(Dexamethasone=dose) for dose in dexamethasone["nM"]]
        return np.stack([counted(cells, arm, dexamethasone["hours"]) for arm in arms], axis=1)

    few = {name: values[: dexamethasone["curves"]] for name, values in sets.items()}
    prednisolone, rescued, inhibited = points(Plan(batch, requests(points)).run(sets, rtol=rtol))
    return Virtual(
        frame["mutation"].to_numpy(dtype=str),
        prednisolone,
        curve(Plan(batch, requests(curve)).run(few, rtol=rtol)),
        np.array(dexamethasone["nM"]),
        rescued,
        inhibited,
    )
