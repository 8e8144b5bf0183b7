"""What the commands share: reading options, writing files, tables and JSON, progress."""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fits import provenance

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from kinetics.accuracy import Convergence
    from kinetics.engine import Solver
    from kinetics.model import Model
    from kinetics.sedml import Archive

LONGEST_LINE = 1200  # characters of an error message
LARGEST_INPUT = 100_000_000  # characters from standard input

_ASSIGNMENT = re.compile(r"\s*([A-Za-z_]\w*)\s*=(?!=)\s*(.*\S)\s*\Z", re.DOTALL)
_NEXT = re.compile(r",(?=\s*[A-Za-z_]\w*\s*=(?!=))")  # commas inside of formulas stay


# --- text ---------------------------------------------------------------------------------------------------


def printable(text: str) -> str:
    """Text without control characters: names from a file must not command a terminal."""
    return "".join(c if c in "\t\n" or unicodedata.category(c) not in ("Cc", "Cf", "Cs") else "?" for c in text)


def one_line(text: str) -> str:
    """The same in one line of bearable length."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= LONGEST_LINE else line[: LONGEST_LINE - 3] + "..."


def warn(text: str, args: argparse.Namespace) -> None:
    """A line on standard error, unless ``--quiet``."""
    if not args.quiet:
        print(f"kinetics: {one_line(text)}", file=sys.stderr)


def aligned(rows: Iterable[Sequence[str]], indent: str = "  ", widest: int = 34) -> str:
    """Rows in columns for people; only the last column may be as long as it likes."""
    table = [[one_line(cell) for cell in row] for row in rows]
    if not table:
        return f"{indent}(none)"
    count = max(map(len, table))
    widths = [min(widest, max(len(row[i]) if i < len(row) else 0 for row in table)) for i in range(count)]
    return "\n".join(
        (indent + "  ".join(cell.ljust(widths[i]) for i, cell in enumerate(row))).rstrip() for row in table
    )


def tsv(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Tab-separated values for pipes; numbers with ten digits."""
    lines = ["\t".join(one_line(item) for item in headers)]
    lines += ["\t".join(f"{v:.10g}" if isinstance(v, float) else one_line(str(v)) for v in row) for row in rows]
    return "\n".join(lines)


def with_unit(name: str, unit: str) -> str:
    """``"IL7 [ng/ml]"``, the head of a column."""
    return f"{name} [{unit}]" if unit and unit != "dimensionless" else name


# --- JSON and files -----------------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """The same as JSON can say it: NaN as null, infinity as text, mappings and arrays as dicts and lists."""
    if isinstance(value, str | bool | int) or value is None:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None if math.isnan(value) else "inf" if value > 0 else "-inf"
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):  # numpy arrays and scalars
        return plain(value.tolist())
    if isinstance(value, Iterable):
        return [plain(item) for item in value]
    raise TypeError(f"a {type(value).__name__} has no place in JSON")


def print_json(value: Any) -> None:
    """JSON that every parser reads: no NaN, no control characters."""
    print(json.dumps(plain(value), indent=2, allow_nan=False))


def write_new(path: str, write: Callable[[Path], None], *, force: bool) -> None:
    """Write a file beside and rename it; an existing one is left alone unless told otherwise.

    Raises:
        InputError: there is such a file and ``force`` is not set, or it is a folder.
        OSError: it cannot be written.
    """
    from kinetics.errors import InputError

    target = Path(path)
    if target.is_dir():
        raise InputError(f"cannot write {path!r}: it is a folder")
    if target.exists() and not force:
        raise InputError(f"{path!r} exists and is left as it is; pass --force to overwrite it")
    if not target.parent.is_dir():
        raise InputError(f"cannot write {path!r}: there is no folder {str(target.parent)!r}")
    beside = target.with_name(f".{os.getpid()}.{target.name}")  # the ending stays: it says the format
    try:
        write(beside)
        os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)


def versions() -> dict[str, str]:
    """What a result was computed with, for JSON that outlives this installation."""
    return provenance.versions()


# --- options ------------------------------------------------------------------------------------------------


def assignment(text: str, option: str) -> tuple[str, str]:
    """``"IL7=1 ng/ml"`` as a name and a value."""
    from kinetics.errors import InputError

    match = _ASSIGNMENT.match(text)
    if not match:
        raise InputError(f"{option} needs NAME=VALUE, as in IL7='1 ng/ml', got {text!r}")
    return match.group(1), match.group(2)


def assignments(texts: Iterable[str], option: str) -> dict[str, str]:
    """Several of them; a name given twice is refused."""
    from kinetics.errors import InputError

    found: dict[str, str] = {}
    for text in texts:
        name, value = assignment(text, option)
        if name in found:
            raise InputError(f"{option} sets {name!r} twice: {found[name]!r} and {value!r}")
        found[name] = value
    return found


def step(text: str, option: str) -> tuple[str, dict[str, str]]:
    """``"24 h:Imatinib=3 uM,IL7=0"`` as a duration and changes; ``"1 h"`` changes nothing."""
    from kinetics.errors import InputError

    duration, _, changes = text.partition(":")
    if not duration.strip():
        raise InputError(f"{option} needs DURATION:NAME=VALUE, as in '24 h:Imatinib=3 uM', got {text!r}")
    return duration.strip(), assignments(_NEXT.split(changes) if changes.strip() else (), option)


def steps(texts: Iterable[str], option: str) -> list[tuple[str, dict[str, str]]]:
    """Several of them, in order."""
    return [step(text, option) for text in texts]


def listed(text: str, option: str) -> list[str]:
    """``"0,10,30 min"`` as its parts."""
    from kinetics.errors import InputError

    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise InputError(f"{option} needs values with commas between them, got {text!r}")
    return parts


def source_of(name: str) -> str:
    """The argument itself, or for ``-`` what stands on standard input."""
    from kinetics.errors import InvalidModel

    if name != "-":
        return name
    text = sys.stdin.read(LARGEST_INPUT + 1)
    if len(text) > LARGEST_INPUT:
        raise InvalidModel(f"standard input: more than {LARGEST_INPUT} characters is too large for a model")
    if not text.strip():
        raise InvalidModel("standard input: expected SBML or Antimony text, got nothing")
    return text if "\n" in text else text + "\n"


def load(args: argparse.Namespace) -> Model:
    """The model of a command, with its variant and molar masses; warnings about a foreign one are passed on."""
    from kinetics.errors import InputError
    from kinetics.model import Model

    masses: dict[str, float] = {}
    for name, text in assignments(getattr(args, "molar_mass", ()), "--molar-mass").items():
        try:
            masses[name] = float(text)
        except ValueError:
            raise InputError(f"--molar-mass of {name!r} must be a number in g/mol, got {text!r}") from None
        if not (math.isfinite(masses[name]) and masses[name] > 0.0):
            raise InputError(f"--molar-mass of {name!r} must be positive, in g/mol, got {text!r}")
    model = Model.load(source_of(args.model), variant=args.variant, molar_masses=masses)
    for name in masses:
        model.entity(name)
    if model.entry is None:
        for text in model.warnings:
            short = text
            if len(text) > 160:
                short = text[:120].rsplit(" ", 1)[0] + " ... ('kinetics validate' shows all of it)"
            warn(f"warning: {short}", args)
    return model


def parameters(model: Model, texts: Iterable[str], option: str) -> dict[str, float]:
    """Values in the model's units."""
    from kinetics.schedule import value_in

    return {name: value_in(model, name, text) for name, text in assignments(texts, option).items()}


def solver(args: argparse.Namespace) -> Solver:
    """The tolerances asked for, else the defaults."""
    from kinetics.engine import Solver

    given = {name: getattr(args, name) for name in ("rtol", "atol") if getattr(args, name) is not None}
    return Solver(**given)


def check_json(check: Convergence | None) -> dict[str, Any]:
    """What ``--check`` found, for JSON; nothing where it was not asked for."""
    if check is None:
        return {}
    tighter = {"rtol": check.tighter.rtol, "atol": check.tighter.atol}
    return {"check": {"largest_relative_difference": check.largest, "where": check.where, "tighter": tighter}}


def say_check(check: Convergence | None, args: argparse.Namespace) -> None:
    """The same as a line on standard error, where it does not get into the table."""
    if check is not None and not args.json:
        print(f"kinetics: check: {one_line(str(check))}", file=sys.stderr)


def check_outputs(args: argparse.Namespace) -> None:
    """Refuse what could not be written before anything is computed."""
    from kinetics.errors import InputError

    if args.csv == "-" and args.json:
        raise InputError("--csv - and --json both want standard output; pass one of them")
    if args.plot and Path(args.plot).suffix.lower() not in (".png", ".svg", ".pdf"):
        raise InputError(f"--plot writes .png, .svg or .pdf, got {args.plot!r}")
    for option, ending in (("parquet", ".parquet"), ("omex", ".omex")):
        path = getattr(args, option, None)
        if path and Path(path).suffix.lower() != ending:
            raise InputError(f"--{option} writes {ending}, got {path!r}")
    if getattr(args, "parquet", None):
        from kinetics.interchange import check_parquet

        check_parquet()
    for path in (args.csv, args.plot, getattr(args, "parquet", None), getattr(args, "omex", None)):
        if path and path != "-":
            if Path(path).exists() and not args.force:
                raise InputError(f"{path!r} exists and is left as it is; pass --force to overwrite it")
            if not Path(path).resolve().parent.is_dir():
                raise InputError(f"cannot write {path!r}: its folder does not exist")


def write_csv(frame: Any, args: argparse.Namespace) -> None:
    """A frame where ``--csv`` says."""
    text = frame.to_csv(index=False, lineterminator="\n")
    if args.csv == "-":
        print(text, end="")
    else:
        write_new(args.csv, lambda path: _write(path, text), force=args.force)


def write_tables(frame: Any, args: argparse.Namespace) -> None:
    """A frame where ``--csv`` and ``--parquet`` say, if they do."""
    from kinetics.interchange import write_table

    if args.csv:
        write_csv(frame, args)
    if args.parquet:
        write_table(frame, args.parquet, overwrite=args.force)


def write_archive(archive: Archive, args: argparse.Namespace) -> None:
    """A COMBINE archive where ``--omex`` says, and what a reader of it should know on standard error."""
    archive.write(args.omex, overwrite=args.force)
    for note in archive.notes:
        warn(f"{args.omex}: {note}", args)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="")


# --- time ---------------------------------------------------------------------------------------------------


def silent(args: argparse.Namespace) -> bool:
    """Whether progress would bother: ``--quiet``, or nobody is looking."""
    return bool(args.quiet) or not sys.stderr.isatty()


@contextmanager
def heartbeat(text: str, args: argparse.Namespace, total: int | None = None) -> Iterator[Callable[[], None]]:
    """Where no computation counts its own steps: after two seconds, what is going on and for how long.

    Gives a function to call after each of ``total`` steps.
    """
    if silent(args):
        yield lambda: None
        return
    from kinetics.progress import track

    with track(text, total, progress=True) as bar:
        yield lambda: bar.advance()


@contextmanager
def untracked() -> Iterator[None]:
    """Nothing inside draws by itself; for ``--quiet``."""
    try:
        from kinetics.progress import track
    except ImportError:  # a broken installation, which 'doctor' must be able to say
        yield
        return
    with track("", progress=False):
        yield


@contextmanager
def workers(args: argparse.Namespace) -> Iterator[Executor | None]:
    """What runs the doses: this process, or several.

    Raises:
        InputError: fewer than one worker, or far more than processors.
    """
    from kinetics.errors import InputError

    most = 8 * (os.cpu_count() or 1)
    if not 1 <= args.workers <= most:
        raise InputError(f"--workers must be between 1 and {most}, got {args.workers}")
    if args.workers == 1:
        yield None
        return
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    context = multiprocessing.get_context("spawn")  # a forked engine is not safe
    pool = ProcessPoolExecutor(args.workers, mp_context=context, initializer=_ignore_interrupts)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _ignore_interrupts() -> None:
    """Ctrl-C is for the parent, which then ends its workers; theirs would only add tracebacks."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
