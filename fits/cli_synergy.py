"""The words of ``kinetics synergy``; see `fits.cli`."""

from __future__ import annotations

import argparse
from collections.abc import Callable

# name, where it runs, description, example
Command = Callable[[str, str, str, str], argparse.ArgumentParser]
Group = Callable[[argparse.ArgumentParser], None]


def add(command: Command, *groups: Group) -> None:
    """Add the command; ``groups`` add options that all commands on models share."""
    made = command(
        "synergy", "synergy:synergy_command",
        "Two drugs together, measured or simulated: Bliss, HSA, Loewe, ZIP, MuSyC and BRAID with intervals and tests.",
        "kinetics synergy matrix.csv --plot synergy.png\n"
        "kinetics synergy screen.csv venetoclax dexamethasone --models bliss,loewe --json\n"
        'kinetics synergy il7_stat5_imatinib Imatinib Ruxolitinib --doses1 "0,0.3,1,3,10 uM" \\\n'
        '    --doses2 "0,10,30,100,300 nM" --set IL7="1 ng/ml" --before "60 min" --noise 0.05',
    )  # fmt: skip
    made.add_argument(
        "model",
        metavar="FILE.csv|MODEL",
        help="a table or plate grid (.csv, .tsv), or a bundled model, SBML or Antimony",
    )
    made.add_argument(
        "drugs", nargs="*", metavar="DRUG",
        help="the two drugs: needed for a model; of a table with several pairs all are analysed if left out",
    )  # fmt: skip
    made.add_argument("--variant", default="", metavar="NAME", help="named values of a bundled model, as in CD8")
    table = made.add_argument_group("a table")
    table.add_argument("--sample", default="", metavar="NAME", help="only this sample")
    table.add_argument("--response", default="", metavar="COLUMN", help="the column with the response (viability, ...)")
    table.add_argument("--unit", default="", metavar="UNIT", help="of all doses, where the table does not say it")
    model = made.add_argument_group("a model")
    model.add_argument("--doses1", metavar="D,D,...", help="of the first drug, with 0, as in '0,0.3,1,3 uM'")
    model.add_argument("--doses2", metavar="D,D,...", help="of the second drug")
    model.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", dest="sets", help="set at time 0")
    model.add_argument("--before", metavar="TIME", help="give both drugs this long before time 0 (together with it)")
    model.add_argument("--equilibrate", action="store_true", help="bring the model to its steady state first")
    model.add_argument("--observe", metavar="FORMULA", help="what is read (the model's readout)")
    model.add_argument("--at", metavar="TIME", help="when, after time 0; 'inf' is the steady state")
    model.add_argument("--workers", type=int, default=1, metavar="N", help="processes (1); results do not depend on it")
    how = made.add_argument_group("the analysis")
    how.add_argument(
        "--models", default="", metavar="M,M,...", help="of bliss, hsa, loewe, zip, musyc and braid (all of them)"
    )
    how.add_argument(
        "--full-effect", type=float, default=0.0, metavar="X",
        help="the response when nothing is left: 0 for a viability, 1 or 100 for a share of dead cells (0)",
    )  # fmt: skip
    how.add_argument(
        "--margins", default="", choices=("hill", "measured"),
        help="each drug alone: fitted curves, or the wells as they are (fitted; as they are for a model)",
    )  # fmt: skip
    how.add_argument(
        "--noise", type=float, metavar="SD",
        help="standard deviation of a well in parts of the untreated response, where the table does not tell it",
    )  # fmt: skip
    how.add_argument("--sets", type=int, default=500, metavar="N", dest="boot", help="bootstrap sets (500); 0: none")
    how.add_argument("--seed", type=int, default=0, metavar="N", help="of the bootstrap (0)")
    how.add_argument("--level", type=float, default=0.95, metavar="X", help="of the intervals (0.95)")
    for group in groups:
        group(made)
