"""The command line: ``kinetics models | show | validate | simulate | dose-response | shift | synergy | reproduce |
doctor``, for measured curves ``curves``, and for calibration ``check | fit | profile | sample | report | export``
(their words are in `fits.cli_synergy`, `fits.cli_curves` and `fits.cli_calibration`).

This module holds the words of the command line and its manners: results on standard output, everything else on
standard error, one line per error, exit status 0, 1 or 2.  What the commands do is in `fits.commands`, which is
imported when a command runs, so that ``kinetics --help`` needs none of the scientific packages.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn, cast

from fits import cli_calibration, cli_curves, cli_synergy

EPILOG = """\
exit status:
  0  done; for 'reproduce' all answered core claims hold, for 'doctor' the installation is sound
  1  'reproduce': a core claim fails; 'doctor', 'check': something is wrong; 'fit': no start succeeded
  2  the request or a file is at fault; one line on standard error says how
(130 after Ctrl-C, 141 when the reader of a pipe went away)
"""
INTERRUPTED, PIPE_CLOSED = 130, 141  # 128 + the number of the signal, as shells have it


class _UsageError(Exception):
    """What argparse makes of a command line it cannot read."""


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line and whose epilogs keep their line breaks."""

    def __init__(self, **options: object) -> None:
        settings = {"allow_abbrev": False, "formatter_class": argparse.RawDescriptionHelpFormatter, **options}
        super().__init__(**settings)  # type: ignore[arg-type]  # argparse checks them

    def error(self, message: str) -> NoReturn:
        raise _UsageError(f"{message}; see '{self.prog} --help'")


class _Version(argparse.Action):
    """Looked up only when asked for: the metadata of all installed packages take a moment."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib import metadata

        try:
            version = metadata.version("cytokine-kinetics")
        except metadata.PackageNotFoundError:
            version = "unknown (not installed, run from a checkout)"
        print(f"cytokine-kinetics {version}")
        parser.exit()


# --- the words ----------------------------------------------------------------------------------------------


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = _Parser(
        prog="kinetics",
        description="Dose-response kinetics of cytokine and drug signalling: simulate, compare, calibrate, reproduce.",
        epilog=EPILOG,
    )
    top.add_argument("--version", action=_Version, nargs=0, help="say the version and stop")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True)

    def command(name: str, run: str, text: str, example: str) -> argparse.ArgumentParser:
        made = cast(
            argparse.ArgumentParser,
            commands.add_parser(name, help=text, description=text, epilog=f"example:\n{_indented(example)}"),
        )
        made.set_defaults(run=run)
        made.add_argument("--json", action="store_true", help="print JSON, for programs")
        made.add_argument("--quiet", action="store_true", help="no progress and no warnings on standard error")
        made.add_argument("--debug", action="store_true", help="show the traceback of an error")
        return made

    command("models", "catalogue:models", "List the bundled models.", "kinetics models\nkinetics models --json")

    show = command(
        "show", "catalogue:show", "Show what is in a model: species, parameters with their sources, protocols.",
        "kinetics show il7_stat5_imatinib\nkinetics show my_model.xml --json",
    )  # fmt: skip
    _model(show)

    validate = command(
        "validate", "catalogue:validate", "Check an SBML or Antimony file before it is simulated.",
        "kinetics validate my_model.xml\nkinetics validate my_model.ant --json",
    )  # fmt: skip
    validate.add_argument("file", metavar="FILE", help="SBML or Antimony file, '-' for standard input, or a model name")

    simulate = command(
        "simulate", "simulate:simulate", "Simulate an experiment and print quantities over time (tab-separated).",
        'kinetics simulate il7_stat5_imatinib --set IL7="1 ng/ml" --times 0,10,30 --observe pSTAT5_total\n'
        'kinetics simulate il7_stat5_imatinib --step "24 h:Imatinib=3 uM" --step "1 h:Imatinib=0" \\\n'
        '    --set IL7="1 ng/ml" --end "60 min" --points 61 --csv course.csv',
    )  # fmt: skip
    _model(simulate)
    _settings(simulate)
    _experiment(simulate)
    simulate.add_argument(
        "--times", metavar="T,T,...", help="times to read at, in the model's unit or with their own: 0,10,'1 h'; "
        "'inf' is the steady state; negative ones as --times=-60,0"
    )  # fmt: skip
    simulate.add_argument("--end", metavar="TIME", help="instead: evenly spaced times from 0 to TIME, as in '60 min'")
    simulate.add_argument("--points", type=int, default=None, metavar="N", help="how many of them (61)")
    simulate.add_argument(
        "--observe", action="append", default=[], metavar="FORMULA",
        help="species, parameter, readout or formula; can be repeated; by default the model's readouts",
    )  # fmt: skip
    _check(simulate)
    _output(simulate)
    _archive(simulate)

    curve = command(
        "dose-response", "curves:dose_response_command", "Simulate a dose-response curve and describe it.",
        "kinetics dose-response il7_stat5_imatinib\n"
        'kinetics dose-response il7_stat5_imatinib --target IL7 --from "0.1 pg/ml" --to "100 ng/ml" --plot curve.png\n'
        "kinetics dose-response il7_stat5_imatinib --protocol thiant_2017 --variant CD8 --percent-of-maximum",
    )  # fmt: skip
    _model(curve)
    _settings(curve)
    _protocol(curve)
    _experiment(curve)
    _check(curve)
    _output(curve)
    _archive(curve)

    shift = command(
        "shift", "curves:shift_command", "Compare a control curve with a treated one: shift of EC50, change of Emax.",
        "kinetics shift il7_stat5_imatinib\n"
        'kinetics shift il7_stat5_imatinib --treated "24 h:Imatinib=3 uM" --treated "1 h:Imatinib=0" --plot shift.svg\n'
        "kinetics shift il7_stat5_imatinib --mechanism receptor_loss --json",
    )  # fmt: skip
    _model(shift)
    _settings(shift)
    _protocol(shift)
    _experiment(shift, "--control", "step before the dose in the control arm, as --treated; by default the same steps "
                            "without their changes")  # fmt: skip
    arm = shift.add_argument_group("the treated arm")
    arm.add_argument(
        "--treated", action="append", default=[], metavar="STEP",
        help="step before the dose in the treated arm, 'DURATION:NAME=VALUE,...'; can be repeated",
    )  # fmt: skip
    arm.add_argument(
        "--treated-set", action="append", default=[], metavar="NAME=VALUE", help="set together with the dose"
    )
    arm.add_argument("--treated-param", action="append", default=[], metavar="NAME=VALUE", help="another parameter")
    arm.add_argument("--mechanism", metavar="NAME", help="a mechanism of the catalogue in place of the drug")
    arm.add_argument("--with-drug", action="store_true", help="with --mechanism: the drug is given as well")
    _output(shift)

    reproduce = command(
        "reproduce", "checks:reproduce_command",
        "Simulate the published experiments and check every claim of the papers.",
        "kinetics reproduce\nkinetics reproduce --output reproduce.html --json --quiet",
    )  # fmt: skip
    reproduce.add_argument(
        "--output", metavar="FILE", default="reproduce.html", help="the page to write (reproduce.html)"
    )
    reproduce.add_argument("--no-page", action="store_true", help="write no page")
    reproduce.add_argument(
        "--no-calibration", action="store_true", help="skip the fit at the end, which takes up to a minute"
    )
    reproduce.add_argument(
        "--draws", type=int, default=2000, metavar="N",
        help="parameter sets for the share in which a claim about T-cell numbers holds (2000); 0: none",
    )  # fmt: skip
    reproduce.add_argument("--force", action="store_true", help="overwrite a file that is no such page")

    cli_synergy.add(command, _settings, _output)
    cli_curves.add(command)
    cli_calibration.add(command)

    command(
        "doctor", "checks:doctor_command", "Say whether this installation is sound, and what to do if not.",
        "kinetics doctor\nkinetics doctor --json",
    )  # fmt: skip
    return top


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


def _model(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "model", metavar="MODEL", help="name of a bundled model, SBML or Antimony file, or '-' for standard input"
    )
    command.add_argument("--variant", default="", metavar="NAME", help="named values of a bundled model, as in CD8")


def _settings(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("values and solver")
    group.add_argument(
        "--param", action="append", default=[], metavar="NAME=VALUE",
        help="another value of a parameter or initial concentration, in the model's unit or with its own",
    )  # fmt: skip
    group.add_argument(
        "--molar-mass", action="append", default=[], metavar="SPECIES=G/MOL",
        help="for doses given as mass per volume; known for the ligands of bundled models",
    )  # fmt: skip
    group.add_argument("--rtol", type=float, metavar="X", help="relative tolerance (1e-8)")
    group.add_argument("--atol", type=float, metavar="X", help="absolute tolerance, in the unit of each state (1e-12)")


def _experiment(command: argparse.ArgumentParser, step: str = "--step", text: str = "") -> None:
    group = command.add_argument_group("the experiment")
    group.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", dest="sets",
        help="set at time 0, as in IL7='1 ng/ml'; can be repeated",
    )  # fmt: skip
    group.add_argument(
        step, action="append", default=[], metavar="STEP", dest="steps",
        help=text or "step before time 0, 'DURATION:NAME=VALUE,...' as in '24 h:Imatinib=3 uM'; can be repeated",
    )  # fmt: skip
    group.add_argument("--equilibrate", action="store_true", help="bring the model to its steady state first")


def _protocol(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("the dose-response", "what is left out comes from the catalogue")
    group.add_argument("--protocol", metavar="NAME", help="a protocol of the catalogue, as in thiant_2017")
    group.add_argument("--target", metavar="NAME", help="species or parameter that is dosed")
    group.add_argument("--from", dest="lowest", metavar="DOSE", help="lowest dose, as in '0.1 pg/ml'")
    group.add_argument("--to", dest="highest", metavar="DOSE", help="highest dose")
    group.add_argument("--per-decade", type=int, metavar="N", help="doses per factor of ten (4)")
    group.add_argument("--doses", metavar="D,D,...", help="instead: these doses, as in '0,0.1,1,10 ng/ml'")
    group.add_argument("--zero", action="store_true", help="dose 0 as well")
    group.add_argument("--observe", metavar="FORMULA", help="species, parameter, readout or formula that is read")
    group.add_argument("--at", metavar="TIME", help="when, after the dose, as in '30 min'; 'inf' is the steady state")
    group.add_argument(
        "--percent-of-maximum", action="store_true", help="in percent of the largest response (of the control)"
    )
    group.add_argument("--workers", type=int, default=1, metavar="N", help="processes (1); results do not depend on it")


def _check(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--check", action="store_true",
        help="repeat at 100 times tighter tolerances and say the largest difference (standard error or JSON)",
    )  # fmt: skip


def _output(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("output")
    group.add_argument("--csv", metavar="FILE", help="write a tidy table, a unit beside every value; '-' prints it")
    group.add_argument("--parquet", metavar="FILE", help="write the same table as Parquet (needs pyarrow)")
    group.add_argument("--plot", metavar="FILE", help="write a figure, .png, .svg or .pdf")
    group.add_argument("--force", action="store_true", help="overwrite existing files")


def _archive(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--omex", metavar="FILE", help="write SED-ML and model as a COMBINE archive that other tools can run"
    )


# --- the manners --------------------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status and raises nothing."""
    given = list(sys.argv[1:] if argv is None else argv)
    try:
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="replace")  # a terminal without micro signs is no reason to stop
        status = _run(given)
        sys.stdout.flush()
    except _UsageError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        _say("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        _forget_output()
        return PIPE_CLOSED
    except Exception as error:
        if "--debug" in given:
            import traceback

            traceback.print_exc()
        return _fail(_words(error))
    return status


def _run(given: Sequence[str]) -> int:
    try:
        args = parser().parse_args(given)
    except SystemExit as leaving:  # --help and --version
        sys.stdout.flush()
        return int(leaving.code or 0)
    module, function = args.run.split(":")
    run = cast(
        "Callable[[argparse.Namespace], int]", getattr(importlib.import_module(f"fits.commands.{module}"), function)
    )
    if not args.quiet:
        return run(args)
    from fits.commands.common import untracked

    with untracked():
        return run(args)


def _fail(text: str) -> int:
    _say(f"error: {text}")
    return 2


def _say(text: str) -> None:
    """One line on standard error, without what a terminal would take for commands."""
    from fits.commands.common import one_line

    with contextlib.suppress(OSError):  # standard error may be gone as well: nobody is listening
        print(f"kinetics: {one_line(text)}", file=sys.stderr, flush=True)


def _words(error: Exception) -> str:
    try:
        from kinetics.errors import KineticsError
    except Exception:  # `kinetics` is broken or somebody else's
        return f"this installation does not work ({type(error).__name__}: {error}); run 'kinetics doctor'"
    if isinstance(error, KineticsError):
        return str(error)
    if isinstance(error, ImportError):
        return f"{error}; run 'kinetics doctor' to see what is missing"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    if isinstance(error, MemoryError):
        return "not enough memory"
    return (
        f"unexpected {type(error).__name__}: {error}; this is a fault of the program, please report it with the "
        "command and the output of 'kinetics doctor' (--debug shows where it happened)"
    )


def _forget_output() -> None:
    """Point standard output elsewhere, or the interpreter complains when it flushes at the end."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # it may be no real file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
