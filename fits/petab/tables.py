"""Tables of a PEtab problem, taken to be hostile: rows, and what is in their cells.

Every error names the file, the line and the column, says what is there and what to write instead.
"""

from __future__ import annotations

import csv
import io
import itertools
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fits.petab.files import Folder, locations, read_text
from kinetics.errors import FormulaError, InputError, UnknownName
from kinetics.expression import Expression, Number
from kinetics.formula import RESERVED, parse

MOST_TABLE = 100_000_000  # bytes; the largest published problem has 3 MB
MOST_CELL = 20_000  # characters
MOST_ROWS = 1_000_000

IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_INFINITE = {"inf": math.inf, "+inf": math.inf, "-inf": -math.inf}
# What pandas writes or reads as "no value"; PEtab problems in circulation have all of these.
_EMPTY = frozenset(("", "nan", "na", "n/a", "<na>", "#n/a", "null", "none"))


def is_empty(text: str) -> bool:
    """Whether a cell holds no value (nothing, ``NaN`` or ``NA``)."""
    return text.lower() in _EMPTY


def as_number(text: str) -> float | None:
    """A finite or infinite number, or ``None`` for anything else (also for ``NaN``)."""
    if _NUMBER.fullmatch(text):
        return float(text)
    return _INFINITE.get(text.lower())


# --- tables --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One row of a table; cells by column, stripped, ``""`` where the table ends before the column."""

    file: str
    line: int
    cells: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        """The text of a cell; ``""`` where there is none or it says NaN."""
        text = self.cells.get(column, "")
        return "" if is_empty(text) else text

    def where(self, column: str = "") -> str:
        """``"measurements.tsv, line 7, column 'time'"``."""
        return f"{self.file}, line {self.line}" + (f", column {column!r}" if column else "")

    def fault(self, column: str, message: str) -> InputError:
        """An error at a cell."""
        return InputError(f"{self.where(column)}: {message}")

    def text(self, column: str, what: str = "a value") -> str:
        """A cell that must not be empty."""
        if not self[column]:
            raise self.fault(column, f"expected {what}, got {self._nothing(column)}")
        return self[column]

    def _nothing(self, column: str) -> str:
        if column not in self.cells:
            return f"a table without the column {column!r}"
        return self.cells[column] or "an empty cell"

    def identifier(self, column: str) -> str:
        """A PEtab identifier: letters, digits and underscores, not starting with a digit."""
        found = self.text(column, "an identifier")
        if not IDENTIFIER.fullmatch(found):
            raise self.fault(
                column, f"expected an identifier (letters, digits and _, not starting with a digit), got {found!r}"
            )
        if found.lower() in RESERVED:
            raise self.fault(column, f"{found!r} has a meaning in formulas and cannot be an identifier")
        return found

    def number(self, column: str, *, infinite: str = "", default: float | None = None) -> float:
        """A number; ``infinite`` lists which of ``"+"`` and ``"-"`` infinity may be."""
        found = self[column]
        if not found and default is not None:
            return default
        if is_empty(self.cells.get(column, "")):
            raise self.fault(column, f"expected a number, got {self._nothing(column)}")
        number = as_number(found)
        if number is None:
            dotted = found.replace(",", ".")
            hint = f"; write {dotted}" if dotted != found and as_number(dotted) is not None else ""
            raise self.fault(column, f"expected a number, got {found!r}{hint}")
        if math.isinf(number) and ("-" if number < 0.0 else "+") not in infinite:
            raise self.fault(column, f"expected a finite number, got {found!r}")
        return number

    def choice(self, column: str, among: Mapping[str, Any], default: str) -> Any:
        """One of a few words."""
        found = self[column] or default
        if found not in among:
            words = {
                id(value): word for word, value in reversed(list(among.items()))
            }  # the first word for each meaning
            shown = [word for word in among if word in words.values()]
            raise self.fault(
                column, f"expected {_either(shown)}, got {repr(found) if found else self._nothing(column)}"
            )
        return among[found]

    def formula(self, column: str, known: Iterable[str], own: frozenset[str] = frozenset()) -> tuple[str, Expression]:
        """A formula, as text and read; its symbols must be among ``known``."""
        found = self.text(column, "a formula")
        return found, self.parsed(column, found, known, own)

    def parsed(self, column: str, text: str, known: Iterable[str], own: frozenset[str] = frozenset()) -> Expression:
        """Read a formula that stems from this cell."""
        known = set(known)
        try:
            formula = parse(text, own)
        except FormulaError as error:
            raise FormulaError(f"{self.where(column)}: {error}") from None
        for name in sorted(formula.names - known - {"$time"}):
            raise UnknownName("species, parameter or observable", name, known, self.where(column))
        return formula

    def overrides(self, column: str, known: Collection[str]) -> tuple[str | float, ...]:
        """Numbers and parameters, separated by semicolons."""
        found = self[column]
        if not found:
            return ()
        values: list[str | float] = []
        for part in (part.strip() for part in found.split(";")):
            number = as_number(part)
            if number is not None and math.isfinite(number):
                values.append(number)
            elif part in known:
                values.append(part)
            elif not part or not IDENTIFIER.fullmatch(part):
                raise self.fault(column, f"expected numbers and parameters separated by ';', got {found!r}")
            else:
                raise UnknownName("parameter", part, known, self.where(column))
        return tuple(values)


def _either(words: Iterable[str]) -> str:
    shown = [repr(word) for word in words]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} or {shown[-1]}"


def read_table(path: Path, required: Iterable[str]) -> list[Row]:
    """The rows of a tab-separated table with a header; blank lines are passed over.

    Raises:
        ModelNotFound, InputError: there is no such file, it is too large or no table, or a column is missing.
    """
    name = path.name
    text = read_text(path, MOST_TABLE)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    reader = csv.reader(io.StringIO(text), delimiter="\t", strict=True)
    rows: list[Row] = []
    header: list[str] = []
    for line, record in _records(reader, name):
        cells = [cell.strip() for cell in record]
        if not any(cells):
            continue
        if not header:
            header = _header(cells, name, line, required)
            continue
        if any(cells[len(header) :]):
            raise InputError(f"{name}, line {line}: {len(cells)} cells in a table of {len(header)} columns")
        if max(map(len, cells)) > MOST_CELL:
            raise InputError(f"{name}, line {line}: a cell of more than {MOST_CELL:,} characters")
        padded = itertools.chain(cells, itertools.repeat(""))
        rows.append(Row(name, line, {column: cell for column, cell in zip(header, padded, strict=False) if column}))
        if len(rows) > MOST_ROWS:
            raise InputError(f"{name}: more than {MOST_ROWS:,} rows")
    if not header:
        raise InputError(f"{name}: expected a table with the columns {', '.join(required)}, got an empty file")
    return rows


def _records(reader: Any, name: str) -> Iterator[tuple[int, list[str]]]:
    start = 1
    while True:
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise InputError(f"{name}, line {start}: not a tab-separated table: {error}") from None
        yield start, record
        start = reader.line_num + 1


def _header(cells: list[str], name: str, line: int, required: Iterable[str]) -> list[str]:
    required = tuple(required)
    for column in required:
        if column not in cells:
            kind = "separated by tabs" if len(cells) == 1 and ("," in cells[0] or ";" in cells[0]) else "with a header"
            raise UnknownName("column", column, filter(None, cells), f"{name} (expected a table {kind})")
    twice = {column for column in cells if column and cells.count(column) > 1}
    if twice:
        raise InputError(f"{name}, line {line}: column {sorted(twice)[0]!r} is there twice")
    return cells


def read_tables(folder: Folder, entries: object, what: str, required: Iterable[str]) -> list[Row]:
    """The rows of one or several files that a YAML entry names, one after the other."""
    return [
        row
        for number, location in enumerate(locations(entries, folder.origin, what))
        for row in read_table(folder.file(location, f"{what}[{number}]"), required)
    ]


def check_unique(rows: Iterable[Row], *columns: str) -> None:
    """Refuse two rows with the same key, naming both."""
    seen: dict[tuple[str, ...], Row] = {}
    for row in rows:
        key = tuple(row[column] for column in columns)
        if key in seen:
            first = seen[key]
            place = f"line {first.line}" if first.file == row.file else first.where()
            raise row.fault(columns[-1], f"{', '.join(map(repr, key))} is already in {place}; each may occur once")
        seen[key] = row


def constant(formula: Expression) -> float | None:
    """The value of a formula without symbols."""
    return formula.value if isinstance(formula, Number) else None
