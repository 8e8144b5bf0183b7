"""Draw the picture of the README: ``python docs/img/make.py`` writes ``shift.png`` beside this file."""

from __future__ import annotations

from pathlib import Path

import kinetics as kin
from kinetics.plotting import new_axes, plot_shift, save


def main() -> None:
    """Simulate the two arms of Thiant et al. 2017 (24 h imatinib, wash, 1 h, IL-7 for 30 min) and draw them."""
    model = kin.Model.load("il7_stat5_imatinib")
    readout = kin.Readout.at("pSTAT5_total", "30 min")
    protocol = kin.DoseProtocol("IL7", kin.doses("0.001 ng/ml", "100 ng/ml", per_decade=4), readout)
    control = kin.dose_response(model, protocol.before(("25 h", {})), label="vehicle")
    washed = protocol.before(("24 h", {"Imatinib": "3 uM"}), ("1 h", {"Imatinib": 0}))
    treated = kin.dose_response(model, washed, label="imatinib 3 uM for 24 h, washed out")
    ax = plot_shift(control, treated, new_axes(7.2, 3.9))
    ax.set(xlabel="IL-7 (ng/ml)", ylabel="phospho-STAT5 after 30 min (nM)")
    save(ax, Path(__file__).with_name("shift.png"), dpi=150)


if __name__ == "__main__":
    main()
