"""Files as tables of text: encodings, separators, decimal commas and Excel sheets.  The only module that imports
openpyxl.
"""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
import stat
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fits.reported import MOST_BYTES, MOST_CHARACTERS, MOST_ROWS
from kinetics.errors import InputError, ModelNotFound

MOST_COLUMNS = 400  # a wide table has a column per well
MOST_UNPACKED = 100_000_000  # bytes of an Excel file
EXCEL = (".xlsx", ".xlsm")
_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?")
_POINT = re.compile(r"[+-]?\d*\.\d+(?:[eE][+-]?\d+)?")
_GROUPED = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+")
_BOTH = re.compile(r"[+-]?\d{1,3}(?:\.\d{3})+,\d+|[+-]?\d{1,3}(?:,\d{3})+\.\d+")


@dataclass(frozen=True)
class Table:
    """Cells as text, stripped; blank rows and remarks (``#``) are left out."""

    name: str  # of the file, for messages
    lines: tuple[int, ...]  # in the file, of each row
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def read_table(path: str | os.PathLike[str], *, sheet: str | None = None, decimal: str = "") -> Table:
    """The cells of a CSV, TSV, TXT or Excel file.

    Args:
        sheet: of an Excel file; by default the only one, or the first.
        decimal: ``","`` or ``"."`` where a table could be read both ways.

    Raises:
        ModelNotFound: there is no such file.
        InputError: it is no table, too large, or ambiguous.
    """
    file = Path(path)
    if decimal not in ("", ",", "."):
        raise InputError(f"decimal must be ',' or '.', got {decimal!r}")
    try:
        status = file.stat()
    except (OSError, ValueError):
        raise ModelNotFound(f"there is no file {file.name!r}") from None
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{file.name}: expected a file, got {'a folder' if file.is_dir() else 'a device'}")
    if status.st_size > MOST_BYTES:
        raise InputError(f"{file.name}: expected at most {MOST_BYTES:,} bytes, got {status.st_size:,}")
    data = file.read_bytes()
    if file.suffix.lower() in EXCEL or data[:4] == b"PK\x03\x04":
        return _decimals(_excel(data, file.name, sheet), decimal, typed=True)
    if file.suffix.lower() == ".xls" or data[:8] == b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1":
        raise InputError(f"{file.name}: the old Excel format is not read; save it as .xlsx or CSV")
    if sheet is not None:
        raise InputError(f"{file.name} is no Excel file, so it has no sheet {sheet!r}")
    text, notes = decode(data, file.name)
    return _decimals(_separated(text, file.name, notes), decimal)


def decode(data: bytes, name: str) -> tuple[str, list[str]]:
    """Text of a file in UTF-8, UTF-16 or, failing that, Windows-1252 or Latin-1, with a note where that was guessed."""
    for mark, encoding in (
        (codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
    ):  # fmt: skip
        if data.startswith(mark):
            try:
                return data.decode(encoding), []
            except UnicodeDecodeError as error:
                raise InputError(f"{name}: it begins as {encoding} but is not: {error.reason}") from None
    if b"\0" in data:
        half = max(len(data) // 2, 1)
        for start, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
            if len(data) % 2 == 0 and data[start::2].count(0) > 0.4 * half and not data[1 - start :: 2].count(0):
                return data.decode(encoding), [f"read as {encoding.upper()}"]
        raise InputError(f"{name}: expected a table as text, got binary data")
    try:
        return data.decode("utf-8"), []
    except UnicodeDecodeError:
        pass
    try:
        return data.decode("cp1252"), ["not UTF-8: read as Windows-1252 (Western European); look at names and units"]
    except UnicodeDecodeError:
        return data.decode("latin-1"), ["not UTF-8: read as Latin-1; look at names and units"]


def _separated(text: str, name: str, notes: list[str]) -> Table:
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    used = [line for line in text.split("\n") if line.strip() and not line.lstrip().startswith("#")]
    if not used:
        raise InputError(f"{name}: expected a table, got an empty file")
    head = used[0]
    # A comma may be the decimal sign where there is a semicolon or a tab; those are never part of a number.
    delimiter = next((mark for mark in ("\t", ";") if mark in head), "," if "," in head else " ")
    rows: list[tuple[str, ...]] = []
    lines: list[int] = []
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True, skipinitialspace=True)
    try:
        for record in reader:
            cells = tuple(cell.strip() for cell in record)
            if any(cells) and not cells[0].startswith("#"):
                other = ";" if delimiter != ";" else ","
                if len(cells) == 1 and rows and len(rows[0]) > 1 and other in cells[0]:
                    raise InputError(
                        f"{name}, line {reader.line_num}: the cells are separated by {other!r} and those above by "
                        f"{delimiter!r}: use one of them"
                    )
                rows.append(cells)
                lines.append(reader.line_num)
            _check_size(name, len(rows), cells)
    except csv.Error as error:
        raise InputError(f"{name}, line {reader.line_num}: not a table: {error}") from None
    return Table(name, tuple(lines), tuple(rows), tuple(notes))


def _check_size(name: str, count: int, cells: tuple[str, ...]) -> None:
    if count > MOST_ROWS:
        raise InputError(f"{name}: more than {MOST_ROWS:,} rows")
    if len(cells) > MOST_COLUMNS or max(map(len, cells), default=0) > MOST_CHARACTERS:
        raise InputError(f"{name}: a row of more than {MOST_COLUMNS} cells, or a cell of more than {MOST_CHARACTERS}")


def _excel(data: bytes, name: str, sheet: str | None) -> Table:
    try:
        import openpyxl
    except ImportError:
        raise InputError(
            f"{name}: reading Excel needs openpyxl: pip install 'cytokine-kinetics[excel]', or save the sheet as CSV"
        ) from None
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            if sum(item.file_size for item in packed.infolist()) > MOST_UNPACKED:
                raise InputError(f"{name}: more than {MOST_UNPACKED:,} bytes when unpacked")
        book: Any = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
    except InputError:
        raise
    except Exception as error:  # openpyxl raises many kinds for files that are no workbooks
        raise InputError(f"{name}: not an Excel workbook: {error}") from None
    try:
        names = list(book.sheetnames)
        if sheet is not None and sheet not in names:
            raise InputError(f"{name}: there is no sheet {sheet!r}; there are {', '.join(map(repr, names))}")
        chosen = sheet or names[0]
        notes = [] if sheet or len(names) == 1 else [f"read sheet {chosen!r}; there are also {', '.join(names[1:])}"]
        rows: list[tuple[str, ...]] = []
        lines: list[int] = []
        for number, values in enumerate(book[chosen].iter_rows(values_only=True), start=1):
            cells = tuple(_as_text(value, name, number) for value in values)
            while cells and not cells[-1]:
                cells = cells[:-1]
            if cells and not cells[0].startswith("#"):
                rows.append(cells)
                lines.append(number)
            _check_size(name, max(len(rows), number // 50), cells)
    finally:
        book.close()
    if not rows:
        raise InputError(f"{name}: sheet {chosen!r} is empty")
    return Table(name, tuple(lines), tuple(rows), tuple(notes))


def _as_text(value: object, name: str, line: int) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        raise InputError(f"{name}, line {line}: expected numbers and text, got {value}")
    if isinstance(value, int | float):
        return repr(float(value)) if isinstance(value, float) and not value.is_integer() else str(int(value))
    if hasattr(value, "isoformat"):
        raise InputError(
            f"{name}, line {line}: Excel holds the date {value}: it takes numbers such as 1/2 or 3.4 for dates; format "
            "the column as numbers and type them anew"
        )
    return str(value).strip()


def _decimals(table: Table, decimal: str, typed: bool = False) -> Table:
    """Numbers with a decimal point, whatever they were written with."""
    cells = [cell for row in table.rows for cell in row]
    if both := next((cell for cell in cells if _BOTH.fullmatch(cell)), ""):
        raise InputError(f"{table.name}: {both!r} has a sign between thousands: write it without")
    commas = [cell for cell in cells if _COMMA.fullmatch(cell)]
    if not commas or decimal == ".":
        if commas:
            grouped = [cell for cell in commas if _GROUPED.fullmatch(cell)]
            if len(grouped) < len(commas):
                odd = next(cell for cell in commas if cell not in grouped)
                raise InputError(f"{table.name}: decimal='.' was given, but {odd!r} has a decimal comma")
            return _replaced(table, lambda cell: cell.replace(",", "") if _GROUPED.fullmatch(cell) else cell, ())
        return table
    if not decimal and all(_GROUPED.fullmatch(cell) for cell in commas):
        raise InputError(
            f"{table.name}: {commas[0]!r} may be a decimal number or thousands: pass decimal=',' or decimal='.'"
        )
    points = [] if typed else [cell for cell in cells if _POINT.fullmatch(cell)]
    if points:
        raise InputError(
            f"{table.name}: {commas[0]!r} has a decimal comma and {points[0]!r} a decimal point: write all in one way"
        )

    def turn(cell: str) -> str:
        return cell.replace(",", ".") if _COMMA.fullmatch(cell) else cell

    return _replaced(table, turn, ("decimal commas were read as points",))


def _replaced(table: Table, turn: Any, notes: tuple[str, ...]) -> Table:
    rows = tuple(tuple(turn(cell) for cell in row) for row in table.rows)
    return Table(table.name, table.lines, rows, (*table.notes, *notes))
