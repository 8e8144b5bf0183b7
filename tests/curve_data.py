"""Points of known curves, and the data of R's `drc` that tests of curve fits are held against."""

from __future__ import annotations

import numpy as np

from fits.curvefit.points import Points
from kinetics.curves import hill

# drc::ryegrass (Inderjit, Streibig and Olofsdotter 2002): root length over ferulic acid in mM.  Digits from
# neuhausi/Rdatasets, js/drc/ryegrass.js.
RYEGRASS = (
    np.array([0.0] * 6 + [0.94] * 3 + [1.88] * 3 + [3.75] * 3 + [7.5] * 3 + [15.0] * 3 + [30.0] * 3),
    np.array([
        7.58, 8.0, 8.328571429, 7.25, 7.375, 7.9625, 8.355555556, 6.914285714, 7.75, 6.871428571, 6.45, 5.922222222,
        1.925, 2.885714286, 4.233333333, 1.1875, 0.857142857, 1.057142857, 0.6875, 0.525, 0.825, 0.25, 0.22, 0.44,
    ]),
)  # fmt: skip

# drc::S.alba (Christensen, Teicher and Streibig 2003): dry matter over herbicide.  Digits from
# vincentarelbundock/Rdatasets,
# csv/drc/S.alba.csv.
_GLYPHOSATE = {
    0: (4.7, 4.6, 4.1, 4.4, 3.2, 3.0, 3.8, 3.9), 10: (3.8, 3.8, 3.8, 3.3), 20: (4.1, 3.5, 4.1, 3.2),
    40: (2.8, 3.0, 3.7, 3.4), 80: (1.8, 1.6, 2.3, 1.7), 160: (1.1, 1.3, 1.0, 1.2), 320: (0.9, 0.9, 0.9, 0.9),
}  # fmt: skip
_BENTAZONE = {
    0: (4.1, 3.4, 2.6, 3.5, 4.3, 4.2, 4.1, 4.5), 10: (3.5, 3.8, 3.9, 3.7), 20: (3.2, 3.5, 3.0, 4.0),
    40: (1.1, 1.4, 1.4, 0.9), 80: (0.9, 0.6, 0.7, 0.8), 160: (0.7, 0.7, 0.5, 0.6), 320: (0.8, 0.5, 0.7, 0.8),
    640: (0.6, 0.7, 0.6, 0.8),
}  # fmt: skip


def points(arms: dict[str, tuple[np.ndarray, np.ndarray]], unit: str = "nM", errors=None, inhibitor=None) -> Points:
    """Doses and responses by arm."""
    doses = np.concatenate([np.asarray(d, float) for d, _ in arms.values()])
    responses = np.concatenate([np.asarray(y, float) for _, y in arms.values()])
    index = np.concatenate([np.full(len(d), i, dtype=np.int64) for i, (d, _) in enumerate(arms.values())])
    nothing = np.full(len(doses), np.nan)
    return Points(
        doses, responses, nothing if errors is None else np.asarray(errors, float), index, tuple(arms),
        nothing if inhibitor is None else np.asarray(inhibitor, float), unit, "", "uM",
    )  # fmt: skip


def ryegrass() -> Points:
    return points({"ryegrass": RYEGRASS}, "mM")


def s_alba() -> Points:
    def table(levels):
        doses = np.array([d for d, values in levels.items() for _ in values], float)
        return doses, np.array([v for values in levels.values() for v in values])

    return points({"Bentazone": table(_BENTAZONE), "Glyphosate": table(_GLYPHOSATE)}, "g/ha")


DOSES = np.array([0.0, *np.geomspace(0.01, 100.0, 9)])


def curve(ec50=1.0, bottom=0.0, top=1.0, slope=1.0, sigma=0.03, replicates=3, seed=0, doses=DOSES):
    """Doses and noisy responses of one Hill curve."""
    d = np.tile(doses, replicates)
    noise = sigma * np.random.default_rng(seed).standard_normal(len(d))
    return d, hill(d, bottom, top, ec50, slope) + noise
