"""The words of ``kinetics curves``: measured dose-response curves from a file; see `fits.cli`."""

from __future__ import annotations

import argparse
from collections.abc import Callable

Command = Callable[[str, str, str, str], argparse.ArgumentParser]


def add(command: Command) -> None:
    """Add the command; ``command`` makes one."""
    curves = command(
        "curves", "measured:curves_command",
        "Fit measured dose-response curves: EC50, Emax, Hill slope, area; shifts; families under an inhibitor.",
        "kinetics curves viability.csv --arm drug\n"
        "kinetics curves il7.xlsx --arm donor --model 4pl --share bottom,hill --control healthy --plot shift.png\n"
        "kinetics curves figure.csv --dose-unit ng/ml --log-dose --json\n"
        "kinetics curves schild.csv --inhibitor antagonist --plot schild.png",
    )  # fmt: skip
    curves.add_argument("file", metavar="FILE", help="CSV, TSV or Excel file: tidy, wide, or from WebPlotDigitizer")
    table = curves.add_argument_group(
        "the table", "columns are recognised by name; say so where they are called otherwise"
    )
    table.add_argument("--arm", default="", metavar="COLUMN", help="what tells the arms apart; several as sample,drug")
    table.add_argument("--dose", default="", metavar="COLUMN", help="column of the doses")
    table.add_argument("--response", default="", metavar="COLUMN", help="column of the responses")
    table.add_argument(
        "--inhibitor", default="", metavar="COLUMN", help="doses of an inhibitor: fit a family of curves"
    )
    table.add_argument("--dose-unit", default="", metavar="UNIT", help="of the doses, where the file does not say it")
    table.add_argument("--inhibitor-unit", default="", metavar="UNIT", help="of the inhibitor's doses")
    table.add_argument("--only", default="", metavar="ARM,ARM", help="fit these arms only")
    table.add_argument("--log-dose", action="store_true", help="doses are given as log10")
    table.add_argument("--swap-axes", action="store_true", help="x and y of a digitised figure were mixed up")
    table.add_argument("--sheet", metavar="NAME", help="of an Excel file (the first)")
    table.add_argument("--decimal", default="", choices=("", ",", "."), help="where numbers could be read both ways")
    fit = curves.add_argument_group("the fit")
    fit.add_argument("--model", default="4pl", choices=("3pl", "4pl", "5pl", "biphasic"), help="shape of a curve (4pl)")
    fit.add_argument(
        "--share", default="", metavar="P,P", help="parameters all arms share: bottom, top, ec50, hill, or all"
    )
    fit.add_argument("--fix", action="append", default=[], metavar="P=VALUE", help="hold a parameter, as in bottom=0")
    fit.add_argument(
        "--noise", choices=("constant", "proportional", "stated"), help="by default stated errors, else constant"
    )
    fit.add_argument("--robust", action="store_true", help="expect outliers: Student's t in place of the normal")
    fit.add_argument("--controls", default="", metavar="ARM", help="untreated samples that belong to every arm")
    fit.add_argument("--level", type=float, default=0.95, metavar="P", help="of the intervals (0.95)")
    fit.add_argument(
        "--lc", type=float, metavar="X", help="ask for the dose at this fraction of the response at dose 0"
    )
    fit.add_argument("--control", default="", metavar="ARM", help="compare every other arm with this one")
    group = curves.add_argument_group("output")
    group.add_argument("--csv", metavar="FILE", help="write a table, a row per arm and quantity; '-' prints it")
    group.add_argument("--plot", metavar="FILE", help="write a figure, .png, .svg or .pdf")
    group.add_argument("--force", action="store_true", help="overwrite existing files")
