"""Dose matrices from files: long tables and plate grids.

A *long table* has a row per well.  Columns are found by name, in the spellings in use: ``drug1``, ``drug_row`` or
``compound_a``, ``dose1``, ``conc1_nM`` or ``conc_r``, the same for the second drug, and a response: ``viability``,
``response``, ``value`` or ``signal``, or the one named by the caller.  Units stand in a column (``unit1``,
``conc_r_unit``, ``unit``), at the end of a header (``conc1_nM``, ``dose1 (nM)``) or in the call.

A *plate grid* has the doses of the first drug down the first column, those of the second along the first line, and in
its corner ``A (nM) \\ B (nM)``; doses that occur again, and further grids below an empty line, are replicates.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fits.petab.files import read_text
from fits.petab.tables import Row, as_number
from fits.synergy.wells import Combination, from_columns
from kinetics.errors import InputError, UnitError, UnknownName
from kinetics.units import quantity

MOST_BYTES = 20_000_000
MOST_ROWS = 200_000
MOST_COLUMNS = 500
MOST_CHARACTERS = 1_000

_DOSE = r"(?:dose|conc|concentration)"
# What a header may be called once it is in small letters and joined by underscores.
_COLUMNS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "drug": (
        (r"(?:drug|compound|agent)_?(?:1|a|row|r)(?:_name)?",),
        (r"(?:drug|compound|agent)_?(?:2|b|col|column|c)(?:_name)?",),
    ),
    "dose": (
        (rf"{_DOSE}_?(?:1|a|row|r)", r"(?:drug|compound)_?(?:1|a|row)_(?:dose|conc|concentration)"),
        (rf"{_DOSE}_?(?:2|b|col|column|c)", r"(?:drug|compound)_?(?:2|b|col)_(?:dose|conc|concentration)"),
    ),
    "unit": (
        (rf"(?:{_DOSE}_?)?unit_?(?:1|a|row|r)", rf"{_DOSE}_?(?:1|a|row|r)_unit", rf"(?:{_DOSE}_)?unit"),
        (rf"(?:{_DOSE}_?)?unit_?(?:2|b|col|c)", rf"{_DOSE}_?(?:2|b|col|column|c)_unit", rf"(?:{_DOSE}_)?unit"),
    ),
}  # fmt: skip
RESPONSES = ("viability", "response", "survival", "value", "signal", "inhibition", "effect")
SAMPLES = ("sample", "sample_id", "cell_line", "cell_line_name", "donor", "patient", "model", "block_id")
NOBODY = frozenset(("", "none", "dmso", "vehicle", "control", "-", "nan", "na"))
_IN_BRACKETS = re.compile(r"(.*?)\s*[(\[]\s*([^)\]]*?)\s*[)\]]\s*")
_CORNER = re.compile(r"\s*(.+?)\s*[\\/|]\s*(.+?)\s*")


@dataclass(frozen=True)
class _Header:
    drug: tuple[str, str]  # columns; "" where there is none
    dose: tuple[str, str]
    unit_column: tuple[str, str]
    unit: tuple[str, str]  # said in the header
    response: str
    sample: str


def read_combinations(
    path: str | os.PathLike[str],
    *,
    drugs: tuple[str, str] | None = None,
    sample: str = "",
    response: str = "",
    dose_unit: str = "",
    response_unit: str = "",
    full_effect: float = 0.0,
) -> list[Combination]:
    """Every pair of drugs (in every sample) of a CSV file, as long table or plate grid.

    Args:
        drugs: only this pair, in this order; for a grid without names, what they are called.
        sample: only this sample.
        response: the column with the response.
        dose_unit: the unit of all doses where the table does not say it.
        full_effect: the response when nothing is left; see `wells.Combination`.

    Raises:
        ModelNotFound: there is no such file.
        InputError, UnitError, UnknownName: the table has no meaning; the message names file, line and column.
    """
    return parse_combinations(
        read_text(Path(path), MOST_BYTES), name=Path(path).name, drugs=drugs, sample=sample, response=response,
        dose_unit=dose_unit, response_unit=response_unit, full_effect=full_effect,
    )  # fmt: skip


def read_combination(path: str | os.PathLike[str], **options: Any) -> Combination:
    """The one pair of a file; see `read_combinations`.

    Raises:
        InputError: the file holds several; the message lists them.
    """
    found = read_combinations(path, **options)
    if len(found) > 1:
        shown = [f"{c.drugs[0]} with {c.drugs[1]}{f' in {c.sample}' if c.sample else ''}" for c in found[:8]]
        raise InputError(
            f"{Path(path).name}: {len(found)} combinations ({'; '.join(shown)}{'; ...' if len(found) > 8 else ''}): "
            "pass drugs=(first, second) or sample=... to choose one"
        )
    return found[0]


def parse_combinations(
    text: str, *, name: str = "table", drugs: tuple[str, str] | None = None, sample: str = "", response: str = "",
    dose_unit: str = "", response_unit: str = "", full_effect: float = 0.0,
) -> list[Combination]:  # fmt: skip
    """The same from the text of a table."""
    lines = _lines(text, name)
    blocks = _blocks(lines)
    more = {"response_unit": response_unit, "full_effect": full_effect}
    if _is_grid(blocks[0]):
        return [_grid(blocks, name, drugs, response or "response", dose_unit, more)]
    flat = [line for block in blocks for line in block]
    return _long(flat, name, drugs, sample, response, dose_unit, more)


def _lines(text: str, name: str) -> list[tuple[int, list[str]]]:
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    first = next((line for line in text.split("\n", 50)[:50] if line.strip()), "")
    if not first:
        raise InputError(f"{name}: expected a table of a dose matrix, got an empty file")
    delimiter = max((",", "\t", ";"), key=first.count)
    found: list[tuple[int, list[str]]] = []
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
    try:
        for record in reader:
            cells = [cell.strip() for cell in record]
            if cells and cells[0].startswith("#"):
                continue
            if len(cells) > MOST_COLUMNS or max(map(len, cells), default=0) > MOST_CHARACTERS:
                raise InputError(
                    f"{name}, line {reader.line_num}: more than {MOST_COLUMNS} cells, or one of more than "
                    f"{MOST_CHARACTERS} characters"
                )
            found.append((reader.line_num, cells))
            if len(found) > MOST_ROWS:
                raise InputError(f"{name}: more than {MOST_ROWS:,} rows")
    except csv.Error as error:
        raise InputError(f"{name}, line {reader.line_num}: not a table: {error}") from None
    return found


def _blocks(lines: list[tuple[int, list[str]]]) -> list[list[tuple[int, list[str]]]]:
    """Runs of lines with something in them."""
    blocks: list[list[tuple[int, list[str]]]] = [[]]
    for line, cells in lines:
        if any(cells):
            blocks[-1].append((line, cells))
        elif blocks[-1]:
            blocks.append([])
    return [block for block in blocks if block]


def _is_grid(block: list[tuple[int, list[str]]]) -> bool:
    """Whether the first line holds doses behind its corner."""
    head = [cell for cell in block[0][1][1:] if cell]
    return len(head) >= 2 and all(as_number(cell) is not None for cell in head)


# --- plate grids --------------------------------------------------------------------------------------------


class _GridRow(Row):
    """A line of a grid: its columns are counted from 1 and have their dose beside them, itself a number."""

    def where(self, column: str = "") -> str:
        return f"{self.file}, line {self.line}" + (f", column {column}" if column else "")


def _told_apart(drugs: tuple[str, str]) -> tuple[tuple[str, str], tuple[str, ...]]:
    """Names of two drugs; a drug with itself, as in a sham combination, becomes A and A'."""
    one, two = drugs
    if one != two:
        return drugs, ()
    return (one, f"{one}'"), (f"Both drugs are called {one}: the second is shown as {one}'.",)


def _grid(
    blocks: list[list[tuple[int, list[str]]]], name: str, drugs: tuple[str, str] | None, response: str,
    dose_unit: str, more: dict[str, Any],
) -> Combination:  # fmt: skip
    corner = blocks[0][0][1][0]
    match = _CORNER.fullmatch(corner)
    named, units = (("drug 1", "drug 2"), (dose_unit, dose_unit))
    if match:
        sides = [_IN_BRACKETS.fullmatch(side) for side in match.groups()]
        said = [(s.group(1), s.group(2)) if s else (match.group(k + 1), dose_unit) for k, s in enumerate(sides)]
        named, units = (said[0][0], said[1][0]), (said[0][1], said[1][1])
    if not all(units):
        raise UnitError(
            f"{name}, line {blocks[0][0][0]}: the doses have no unit: write 'A (nM) \\ B (nM)' into the corner of the "
            f"grid, or pass dose_unit='nM'; got {corner!r}"
        )
    named, notes = _told_apart(drugs or (named[0], named[1]))
    columns: tuple[list[float], list[float], list[float]] = ([], [], [])
    for block in blocks:
        line, head = block[0]
        top = _GridRow(name, line, {str(k + 1): cell for k, cell in enumerate(head)})
        if any(as_number(cell) is None for cell in head[1:] if cell):
            raise InputError(f"{name}, line {line}: expected the doses of {named[1]} behind the corner, got text")
        second = [top.number(str(k + 1)) if cell and k else None for k, cell in enumerate(head)]
        spots = (f" ({named[1]} = {cell} {units[1]})" if cell and k else "" for k, cell in enumerate(head))
        labels = [f"{k + 1}{words}" for k, words in enumerate(spots)]
        for line, cells in block[1:]:
            row = _GridRow(name, line, dict(zip(labels, cells, strict=False)))
            dose = row.number("1")
            if len(cells) > len(head) and any(cells[len(head) :]):
                raise InputError(f"{name}, line {line}: {len(cells)} cells below {len(head)} doses")
            for k in range(1, min(len(cells), len(head))):
                if not row[labels[k]]:
                    continue  # a hole
                other = second[k]
                if other is None:
                    raise row.fault(labels[k], "there is a response, but no dose above it")
                for column, value in zip(columns, (dose, other, row.number(labels[k])), strict=True):
                    column.append(value)
    if not columns[0]:
        raise InputError(f"{name}: the grid has no responses")
    return from_columns(named, (units[0], units[1]), *columns, response_name=response, notes=notes, **more)


# --- long tables --------------------------------------------------------------------------------------------


def _long(
    lines: list[tuple[int, list[str]]], name: str, drugs: tuple[str, str] | None, sample: str, response: str,
    dose_unit: str, more: dict[str, Any],
) -> list[Combination]:  # fmt: skip
    line, head = lines[0]
    header = _header(head, name, line, response)
    rows = []
    for number, cells in lines[1:]:
        if len(cells) > len(head):
            raise InputError(
                f"{name}, line {number}: {len(cells)} cells in a table of {len(head)} columns (a decimal comma?)"
            )
        padded = [*cells, *[""] * (len(head) - len(cells))]
        rows.append(Row(name, number, dict(zip(head, padded, strict=True))))
    if not rows:
        raise InputError(f"{name}: the table has a header but no rows")
    groups: dict[tuple[str, str, str], list[Row]] = {}
    single: list[tuple[str, Row]] = []
    for row in rows:
        found = row.cells.get(header.sample, "") if header.sample else ""
        if sample and found != sample:
            continue
        one, other = (row.cells[column] if column else f"drug {k + 1}" for k, column in enumerate(header.drug))
        if one.lower() in NOBODY or other.lower() in NOBODY:
            single.append((found, row))
        else:
            groups.setdefault((found, one, other), []).append(row)
    if sample and not groups:
        known = {row.cells[header.sample] for row in rows} if header.sample else set()
        raise UnknownName("sample", sample, sorted(known), name)
    if drugs is not None:
        groups = _chosen(groups, drugs, name)
    if not groups:
        raise InputError(f"{name}: no row names two drugs")
    return [
        _combination(key, [*members, *_lonely(single, key, header)], header, dose_unit, drugs, more)
        for key, members in groups.items()
    ]


def _header(cells: Sequence[str], name: str, line: int, response: str) -> _Header:
    if all(as_number(cell) is not None for cell in cells if cell):
        raise InputError(f"{name}, line {line}: expected a header such as 'drug1,dose1 (nM),drug2,...', got numbers")
    twice = sorted({cell for cell in cells if cell and cells.count(cell) > 1})
    if twice:
        raise InputError(f"{name}, line {line}: column {twice[0]!r} is there twice")
    plain, units = {}, {}
    for cell in cells:
        match = _IN_BRACKETS.fullmatch(cell)
        base, unit = (match.group(1), match.group(2)) if match else (cell, "")
        key = re.sub(r"[\s.\-]+", "_", base.strip()).lower()
        ending = re.fullmatch(r"(.*)_([A-Za-zµμ/]+)", re.sub(r"[\s.\-]+", "_", base.strip()))
        if not unit and ending and _is_dose_unit(ending.group(2)) and _dose_of(ending.group(1).lower()) is not None:
            key, unit = ending.group(1).lower(), ending.group(2)
        plain[key], units[cell] = cell, unit

    def find(patterns: Sequence[str]) -> str:
        return next((plain[key] for p in patterns for key in plain if re.fullmatch(p, key)), "")

    found = {what: (find(both[0]), find(both[1])) for what, both in _COLUMNS.items()}
    for k in (0, 1):
        if not found["dose"][k]:
            raise InputError(
                f"{name}, line {line}: no column with the dose of drug {k + 1}: expected dose{k + 1} or conc{k + 1}, "
                f"as 'dose{k + 1} (nM)', got {', '.join(c for c in cells if c)}"
            )
    if response and response not in cells:
        raise UnknownName("column", response, [c for c in cells if c], f"{name}, line {line}")
    chosen = response or find(RESPONSES)
    if not chosen:
        raise InputError(
            f"{name}, line {line}: no column with a response: expected {', '.join(RESPONSES[:5])}, or name it with "
            f"response=...; got {', '.join(c for c in cells if c)}"
        )
    return _Header(
        found["drug"], found["dose"], found["unit"], (units[found["dose"][0]], units[found["dose"][1]]), chosen,
        find(SAMPLES),
    )  # fmt: skip


def _dose_of(key: str) -> int | None:
    return next((k for k in (0, 1) if any(re.fullmatch(p, key) for p in _COLUMNS["dose"][k])), None)


def _is_dose_unit(text: str) -> bool:
    if text.lower() in ("row", "col", "a", "b", "r", "c", "column", "unit"):  # of which ampere and coulomb are units
        return False
    try:
        return bool(quantity(f"1 {text}").unit)
    except InputError:
        return False


def _chosen(
    groups: dict[tuple[str, str, str], list[Row]], drugs: tuple[str, str], name: str
) -> dict[tuple[str, str, str], list[Row]]:
    known = sorted({drug for key in groups for drug in key[1:]})
    for drug in drugs:
        if drug not in known:
            raise UnknownName("drug", drug, known, name)
    kept = {key: rows for key, rows in groups.items() if set(key[1:]) == set(drugs)}
    if not kept:
        pairs = sorted({f"{key[1]} with {key[2]}" for key in groups})
        raise InputError(f"{name}: {drugs[0]} and {drugs[1]} were not combined; there are {'; '.join(pairs[:8])}")
    return kept


def _lonely(single: list[tuple[str, Row]], key: tuple[str, str, str], header: _Header) -> list[Row]:
    """Rows of one of these drugs, or of none, where the other one's name is left out."""
    kept = []
    for found, row in single:
        names = [row.cells[column] if column else "" for column in header.drug]
        fits = all(name.lower() in NOBODY or name == own for name, own in zip(names, key[1:], strict=True))
        if found == key[0] and fits:
            kept.append(row)
    return kept


def _combination(
    key: tuple[str, str, str], rows: list[Row], header: _Header, dose_unit: str, order: tuple[str, str] | None,
    more: dict[str, Any],
) -> Combination:  # fmt: skip
    units = tuple(_unit(rows, header, k, dose_unit) for k in (0, 1))
    columns: tuple[list[float], list[float], list[float]] = ([], [], [])
    left_out = 0
    for row in rows:
        if not row[header.response]:
            left_out += 1
            continue
        values = []
        for k in (0, 1):
            nobody = header.drug[k] and row.cells[header.drug[k]].lower() in NOBODY
            dose = row.number(header.dose[k], default=0.0 if nobody else None)
            if dose < 0.0:
                raise row.fault(header.dose[k], f"a dose must not be negative, got {dose:g}")
            if nobody and dose > 0.0:
                raise row.fault(header.drug[k], f"there is a dose of {dose:g}, but no drug: expected its name")
            values.append(dose)
        for column, value in zip(columns, (*values, row.number(header.response)), strict=True):
            column.append(value)
    notes = (f"{left_out} wells without a response were left out.",) if left_out else ()
    pair, same = _told_apart((key[1], key[2]))
    made = from_columns(
        pair, (units[0], units[1]), *columns, response_name=header.response, sample=key[0], notes=same + notes,
        **more,
    )  # fmt: skip
    return made.swapped() if order is not None and made.drugs == order[::-1] else replace(made)


def _unit(rows: list[Row], header: _Header, k: int, given: str) -> str:
    """The one unit of a drug's doses; cells of dose 0 may leave it out."""
    column, found = header.unit_column[k], header.unit[k] or given
    if column and any(row[column] for row in rows):
        for row in rows:
            unit = row[column]
            if not unit:
                if row.cells.get(header.dose[k], "") and row.number(header.dose[k]) > 0.0:
                    raise row.fault(column, "expected the unit of the dose, as 'nM', got an empty cell")
                continue
            if found and unit != found:
                raise row.fault(column, f"expected {found!r} as before, got {unit!r}: use one unit per drug")
            found = unit
    if not found:
        raise UnitError(
            f"{rows[0].where(header.dose[k])}: the doses have no unit: write '{header.dose[k]} (nM)' into the header, "
            f"add a column 'unit{k + 1}', or pass dose_unit='nM' ('dimensionless' for a number without one)"
        )
    try:
        quantity(f"1 {'' if found in ('1', 'dimensionless') else found}", "unit of the doses")
    except UnitError as error:
        raise UnitError(f"{rows[0].where(header.dose[k])}: {error}") from None
    return found
