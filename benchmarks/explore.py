"""How long from a slider to the picture: 50 moves on the IL-7 model with a control arm, after a drug and a wash.

Target: under 100 ms at the 95th percentile.  Needs ipywidgets.  Wall-clock time is what a person waits for; CPU time is
printed beside it, because on a machine with other work the first says more about the others.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np

import kinetics as kin

MOVES = 50
TARGET = 0.1  # seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moves", type=int, default=MOVES)
    moves = parser.parse_args().moves
    model = kin.Model.load("il7_stat5_imatinib")
    readout = kin.Readout.at("pSTAT5_total", "30 min")
    protocol = kin.DoseProtocol("IL7", kin.doses("0.001 ng/ml", "100 ng/ml", per_decade=4), readout)
    washed = protocol.before(("24 h", {"Imatinib": "3 uM"}), ("1 h", {"Imatinib": 0}))
    explorer = kin.explore(model, washed, control=protocol)
    rng = np.random.default_rng(0)
    sliders = list(explorer.sliders.values())
    walls, processor = [], []
    for number in range(moves + 3):
        slider = sliders[int(rng.integers(len(sliders)))]
        # a hand moves a slider a little at a time
        new = float(np.clip(slider.value * 10.0 ** rng.normal(0.0, 0.2), 10.0**slider.min, 10.0**slider.max))
        wall, cpu = time.perf_counter(), time.process_time()
        slider.value = new
        if number >= 3:  # the first ones fill caches
            walls.append(time.perf_counter() - wall)
            processor.append(time.process_time() - cpu)
    if "Error" in explorer.message.value or "Failed" in explorer.message.value:
        print(f"the last move failed: {explorer.message.value}", file=sys.stderr)
        return 1
    print(f"{moves} moves, 2 curves of {len(protocol.doses)} doses, axes drawn {explorer._picture.axes_drawn} times")
    for name, seconds in (("wall clock", walls), ("CPU", processor)):
        middle, late = 1e3 * np.median(seconds), 1e3 * np.quantile(seconds, 0.95)
        print(f"{name:10s}  median {middle:5.1f} ms, 95th percentile {late:5.1f} ms  (target: {1e3 * TARGET:.0f})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
