"""How often do the tests against no interaction see one where none is?  Nominal: 5 %.

    python benchmarks/synergy_null.py --matrices 400 --sets 199

Matrices are simulated from each reference itself (Bliss, HSA and ZIP from independent actions or the stronger drug,
Loewe from a drug with itself, MuSyC and BRAID from their neutral surfaces) over designs with one well or three per
cell and noise that is constant or grows with the response.  Printed: the share of matrices with p < 0.05 for the mean
excess, the share with any single combination beyond noise, and the 95 % range that 5 % leaves to chance.
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy.stats import binom

from fits.synergy.analysis import NAMES, SCORES, synergy
from fits.synergy.surfaces import SURFACES, braid, musyc
from fits.synergy.wells import Combination
from kinetics.curves import hill

DOSES = np.concatenate(([0.0], np.geomspace(0.1, 10.0, 6)))
DESIGNS = {
    "1 well, constant noise": (1, 0.05, 0.0),
    "3 wells, constant noise": (3, 0.05, 0.0),
    "1 well, growing noise": (1, 0.005, 0.08),
    "3 wells, growing noise": (3, 0.005, 0.08),
}


def surface(model: str, one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Unaffected fractions without interaction."""
    first, second = hill(one, 1.0, 0.1, 0.8, 1.2), hill(two, 1.0, 0.3, 1.5, 0.9)
    if model == "hsa":
        return np.minimum(first, second)
    if model == "loewe":  # a drug with itself
        return hill(one + two, 1.0, 0.1, 0.8, 1.2)
    if model == "musyc":
        return musyc(one, two, (1.0, 0.1, 0.3, 0.1), (0.8, 1.5), (1.2, 0.9), (1.0, 1.0))
    if model == "braid":
        return braid(one, two, (1.0, 0.1, 0.3), (0.8, 1.5), (1.2, 0.9), 0.0)
    return first * second


def matrix(model: str, wells: int, constant: float, growing: float, rng: np.random.Generator) -> Combination:
    """A simulated experiment, in units of the untreated response."""
    one, two = (np.repeat(d.ravel(), wells) for d in np.meshgrid(DOSES, DOSES, indexing="ij"))
    mean = surface(model, one, two)
    noisy = mean + rng.standard_normal(mean.size) * np.hypot(constant, growing * mean)
    return Combination(("A", "B"), ("uM", "uM"), one, two, noisy)


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--matrices", type=int, default=400)
    words.add_argument("--sets", type=int, default=199, help="bootstrap sets per matrix")
    words.add_argument("--models", default=",".join((*SCORES, *SURFACES)))
    words.add_argument("--seed", type=int, default=0)
    args = words.parse_args()
    low, high = (k / args.matrices for k in binom.interval(0.95, args.matrices, 0.05))
    print(f"{args.matrices} matrices, {args.sets} bootstrap sets; 5 % leaves {low:.3f} to {high:.3f} to chance")
    print("reference\tdesign\tmean\tany combination\tinterval covers 0")
    for model in args.models.split(","):
        for design, (wells, constant, growing) in DESIGNS.items():
            mean = cell = covered = 0
            for number in range(args.matrices):
                rng = np.random.default_rng((args.seed, number))
                data = matrix(model, wells, constant, growing, rng)
                result = synergy(data, [model], n=args.sets, seed=number)
                if model in SURFACES:
                    mean += result.fits[model].p < 0.05
                    continue
                score = result.scores[model]
                mean += score.p_mean < 0.05
                cell += bool(score.cells)
                covered += score.mean_low <= 0.0 <= score.mean_high
            name = NAMES.get(model, SURFACES[model].name if model in SURFACES else model)
            rest = "-\t-" if model in SURFACES else f"{cell / args.matrices:.3f}\t{covered / args.matrices:.3f}"
            print(f"{name}\t{design}\t{mean / args.matrices:.3f}\t{rest}", flush=True)


if __name__ == "__main__":
    main()
