"""The words of the calibration commands: ``check | fit | profile | sample | report | export``; see `fits.cli`."""

from __future__ import annotations

import argparse
from collections.abc import Callable

# name, where it runs, description, example
Command = Callable[[str, str, str, str], argparse.ArgumentParser]


def add(command: Command) -> None:
    """Add the commands; ``command`` makes one."""
    check = command(
        "check", "calibrate:check", "Look a calibration problem over: what is wrong, one evaluation, its gradient.",
        "kinetics check problem.yaml\nkinetics check petab_folder --no-gradient --json",
    )  # fmt: skip
    _problem(check)
    check.add_argument("--seed", type=int, default=0, metavar="N", help="of the point where the gradient is tried (0)")
    check.add_argument("--no-gradient", action="store_true", help="leave the gradient out, which takes longest")

    fit = command(
        "fit", "calibrate:fit_command", "Estimate the parameters of a problem from many starting points.",
        "kinetics fit problem.yaml --starts 50 --seed 1 --workers 2 --store fit.sqlite\n"
        "kinetics fit problem.yaml --starts 100 --seed 1 --workers 2 --store fit.sqlite   # 50 more\n"
        "kinetics fit problem.yaml --json > result.json",
    )  # fmt: skip
    _problem(fit)
    fit.add_argument(
        "--starts", type=int, default=None, metavar="N", help="how many starts there shall be (10; 5 over samples)"
    )
    fit.add_argument("--seed", type=int, default=0, metavar="N", help="start i depends on the seed and i alone (0)")
    fit.add_argument(
        "--workers", type=int, default=1, metavar="N",
        help="processes (1: this one); from 2 on, a start that crashes or hangs costs itself only",
    )  # fmt: skip
    fit.add_argument("--store", metavar="FILE", help="keep every finished start; the same command goes on from it")
    fit.add_argument(
        "--write-calibrated", action="store_true",
        help="for a problem over samples (random_effects): write calibrated.json beside its file, for predictions",
    )  # fmt: skip
    search = fit.add_argument_group("the search")
    search.add_argument(
        "--sampling", default="latin-hypercube", choices=("latin-hypercube", "sobol", "prior"),
        help="how starting points are drawn (latin-hypercube)",
    )  # fmt: skip
    search.add_argument("--candidates", type=int, default=8, metavar="N", help="points that race in each start (8)")
    search.add_argument("--evaluations", type=int, metavar="N", help="most evaluations of one start (1000)")
    search.add_argument("--start-seconds", type=float, metavar="S", help="longest time of one start (3600)")
    search.add_argument(
        "--hierarchical", action="store_true", help="solve for scales, offsets and noise levels inside of the objective"
    )
    search.add_argument(
        "--gradients", default="auto", choices=("auto", "exact", "finite differences"),
        help="auto: exact where that is certain, finite differences elsewhere",
    )  # fmt: skip
    search.add_argument("--rtol", type=float, metavar="X", help="relative tolerance (1e-8)")
    search.add_argument("--atol", type=float, metavar="X", help="absolute tolerance, in the unit of each state (1e-12)")
    _table(fit, "a row per start")

    profile = command(
        "profile", "uncertainty:profile_command",
        "Profile likelihoods and intervals of fitted parameters, and which of them the data settle.",
        "kinetics profile fit.sqlite\nkinetics profile fit.sqlite k_on k_off --level 0.9 --csv profiles.csv",
    )  # fmt: skip
    _fitted(profile, "STORE", "store of a fit; finished points are kept in it")
    profile.add_argument("names", metavar="NAME", nargs="*", help="parameters (all)")
    profile.add_argument("--level", type=float, default=0.95, metavar="P", help="of the intervals (0.95)")
    profile.add_argument("--workers", type=int, default=1, metavar="N", help="processes (1)")
    _table(profile, "a row per point of each profile")

    sample = command(
        "sample", "uncertainty:sample_command", "Sample the posterior with an ensemble of walkers, with diagnostics.",
        "kinetics sample fit.sqlite --steps 2000 --seed 1\nkinetics sample fit.sqlite --steps 5000 --seed 1  # more",
    )  # fmt: skip
    _fitted(sample, "STORE", "store of a fit; finished chunks of the chain are kept in it")
    sample.add_argument("--steps", type=int, default=1000, metavar="N", help="length of the whole chain (1000)")
    sample.add_argument("--seed", type=int, default=0, metavar="N", help="of the chain (0)")
    sample.add_argument("--walkers", type=int, metavar="N", help="how many (four for each parameter, at least 16)")
    sample.add_argument("--workers", type=int, default=1, metavar="N", help="processes (1)")
    _table(sample, "a row per sample after burn-in")

    report = command(
        "report", "outcome:report_command", "Write one self-contained page about a fit.",
        "kinetics report fit.sqlite --output fit.html",
    )  # fmt: skip
    _fitted(report)
    report.add_argument("--output", metavar="FILE", default="fit.html", help="the page to write (fit.html)")
    report.add_argument("--no-gradient", action="store_true", help="leave the check of the gradient out")
    report.add_argument("--force", action="store_true", help="overwrite a file that is no such page")

    export = command(
        "export", "outcome:export_command", "Write the calibrated model, with the fitted values as its own.",
        "kinetics export fit.sqlite --sbml model.xml --antimony model.ant\n"
        "kinetics export fit.sqlite --petab folder --version 1",
    )  # fmt: skip
    _fitted(export)
    export.add_argument("--sbml", metavar="FILE", help="write SBML")
    export.add_argument("--antimony", metavar="FILE", help="write Antimony")
    export.add_argument("--petab", metavar="DIR", help="write the problem as PEtab, fitted values as nominal ones")
    export.add_argument("--version", type=int, choices=(1, 2), default=2, help="of PEtab (2)")
    export.add_argument("--model", default="", metavar="NAME", help="which model, if the problem has several")
    export.add_argument("--force", action="store_true", help="overwrite existing files")


def _problem(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "problem", metavar="PROBLEM",
        help="YAML file of a calibration problem, ours or PEtab 1 or 2, or its folder, or the name of a bundled one",
    )  # fmt: skip
    command.add_argument("--case", default="", metavar="NAME", help="one of the cases of a problem file")


def _fitted(command: argparse.ArgumentParser, name: str = "FIT", text: str = "") -> None:
    command.add_argument(
        "fit", metavar=name, help=text or "store of a fit, or the JSON that 'kinetics fit --json' printed"
    )
    command.add_argument("--problem", metavar="FILE", help="the problem's file, if it is not where it was")


def _table(command: argparse.ArgumentParser, rows: str) -> None:
    group = command.add_argument_group("output")
    group.add_argument("--csv", metavar="FILE", help=f"write a table, {rows}; '-' prints it")
    group.add_argument("--force", action="store_true", help="overwrite an existing file")
