"""``write_petab``: from a `Problem` to PEtab files of version 2 or 1, and a list of what does not fit."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from fits.petab import write_v1, write_v2
from fits.petab.export import Export
from fits.problem import Problem
from kinetics.errors import InputError
from kinetics.infix import format_number

Cell = str | float | bool | None
Table = Sequence[Mapping[str, Cell]]


def write_petab(
    problem: Problem, folder: str | os.PathLike[str], version: int = 2, *, overwrite: bool = False
) -> list[str]:
    """Write a problem as PEtab: a YAML file named after the problem, SBML and tab-separated tables.

    Args:
        folder: made if it does not exist.
        version: 2 (any experiment) or 1 (one simulation period after at most one pre-equilibration).
        overwrite: replace files that are there already.

    Returns:
        What PEtab cannot say, one sentence each: reported shifts and penalties, censored data, ...

    Raises:
        InputError: the version is neither 1 nor 2, a file exists, or nothing of the problem can be written.
    """
    if version not in (1, 2):
        raise InputError(f"PEtab has versions 1 and 2, got {version!r}")
    export = Export(problem)
    writer = write_v2.tables if version == 2 else write_v1.tables
    content, tables = writer(export)
    files = {f"{name}.tsv": _tsv(rows, columns) for name, (columns, rows) in tables.items()}
    files |= {f"{key}.xml": problem.models[name].sbml for name, key in export.models.items()}
    files[f"{export.id}.yaml"] = _yaml(content)
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    present = sorted(name for name in files if (target / name).exists())
    if present and not overwrite:
        raise InputError(
            f"{target.name} has {present[0]!r} already; choose another folder, or say overwrite=True (--force in the "
            "shell) to replace it"
        )
    for name, text in files.items():
        beside = target / f".{name}.{os.getpid()}.part"
        beside.write_text(text, encoding="utf-8", newline="\n")
        os.replace(beside, target / name)
    return export.losses


def _tsv(rows: Table, columns: Iterable[str]) -> str:
    """Columns in their order; those without a value in any row are left out unless they are required (``*``)."""
    chosen = [
        column.removeprefix("*")
        for column in columns
        if column.startswith("*") or any(_text(row.get(column)) for row in rows)
    ]
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
    writer.writerow(chosen)
    writer.writerows([_text(row.get(column)) for column in chosen] for row in rows)
    return stream.getvalue()


def _text(value: Cell) -> str:
    if value is None or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else format_number(float(value))


def _yaml(content: Mapping[str, object]) -> str:
    import yaml

    return str(yaml.safe_dump(dict(content), sort_keys=False))
