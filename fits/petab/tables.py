"""Files of a PEtab problem, taken to be hostile: where they lie, how large they are, what is in their cells.

Every error names the file, the line and the column, says what is there and what to write instead.
"""

from __future__ import annotations

import csv
import io
import itertools
import math
import os
import re
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from kinetics.errors import FormulaError, InputError, ModelNotFound, UnknownName
from kinetics.expression import Expression, Number
from kinetics.formula import RESERVED, parse

MOST_YAML = 1_000_000  # bytes
MOST_TABLE = 100_000_000  # bytes; the largest published problem has 3 MB
MOST_CELL = 20_000  # characters
MOST_ROWS = 1_000_000
MOST_ALIASES = 20  # of a YAML file: a few are handy, many are a bomb
MOST_DEPTH = 20

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


# --- files ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Folder:
    """The folder of a PEtab problem; the files it names lie inside it or are refused."""

    path: Path
    origin: str  # name of the YAML file, for messages

    def file(self, location: object, what: str) -> Path:
        """The file that a YAML entry names.

        Raises:
            InputError: the entry is no text, or names something outside the folder.
            ModelNotFound: there is no such file.
        """
        where = f"{self.origin}: {what}"
        if not isinstance(location, str) or not location.strip():
            raise InputError(f"{where}: expected the name of a file beside the YAML file, got {location!r}")
        if "\0" in location or len(location) > 1000:
            raise InputError(f"{where}: expected the name of a file, got {location[:40]!r}")
        posix, windows = PurePosixPath(location), PureWindowsPath(location)
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", location):
            raise InputError(f"{where}: {location!r} is a URL; download the file beside the YAML file and name that")
        if posix.is_absolute() or windows.is_absolute() or windows.drive or windows.root:
            raise InputError(f"{where}: {location!r} is an absolute path; name the file relative to the YAML file")
        if ".." in posix.parts or ".." in windows.parts:
            raise InputError(f"{where}: {location!r} leads out of the folder of the YAML file; put the file inside it")
        path = self.path / location
        try:
            resolved = path.resolve()
        except (OSError, RuntimeError):  # links that lead to each other
            raise InputError(f"{where}: {location!r} cannot be resolved") from None
        if not resolved.is_relative_to(self.path.resolve()):
            raise InputError(f"{where}: {location!r} is a link that leads out of the folder; put a copy there instead")
        if not resolved.exists():
            present = sorted(item.name for item in self.path.iterdir() if item.is_file())
            hint = f"; the folder has {', '.join(present[:12])}" if present else ""
            raise ModelNotFound(f"{where}: there is no file {location!r}{hint}")
        return resolved


def read_text(path: Path, limit: int, name: str = "") -> str:
    """UTF-8 text of a regular file of at most ``limit`` bytes.

    Raises:
        ModelNotFound: there is no such file.
        InputError: it is no regular file, too large, or not text.
    """
    name = name or path.name
    try:
        status = path.stat()
    except (OSError, ValueError):  # ValueError: the name holds a NUL
        raise ModelNotFound(f"there is no file {name!r}") from None
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{name}: expected a file, got {'a folder' if stat.S_ISDIR(status.st_mode) else 'a device'}")
    if status.st_size > limit:
        raise InputError(f"{name}: expected at most {limit:,} bytes, got {status.st_size:,}")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{name}: cannot be read: {os.strerror(error.errno or 0)}") from None
    if b"\0" in data:
        raise InputError(f"{name}: expected UTF-8 text, got binary data (or UTF-16: save it as UTF-8)")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InputError(f"{name}, line {line}: not UTF-8 text; save it as UTF-8") from None


def read_yaml(path: Path) -> Mapping[str, Any]:
    """A YAML mapping, through the safe loader, with limits on size, depth and aliases.

    Raises:
        ModelNotFound, InputError: there is no such file, or it is no such mapping.
    """
    import yaml

    text = read_text(path, MOST_YAML)
    depth = aliases = 0
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
                depth += 1
            elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
                depth -= 1
            aliases += isinstance(event, yaml.AliasEvent)
            if depth > MOST_DEPTH or aliases > MOST_ALIASES:
                raise InputError(
                    f"{path.name}: more than {MOST_DEPTH} levels or {MOST_ALIASES} aliases; "
                    "the YAML file of a PEtab problem needs neither"
                )
        content = yaml.load(text, Loader=_loader())
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        what = getattr(error, "problem", None) or "it cannot be read"
        raise InputError(f"{path.name}{line}: not YAML: {what}") from None
    except (ValueError, RecursionError, OverflowError) as error:
        raise InputError(f"{path.name}: not YAML that can be read: {error}") from None
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise InputError(f"{path.name}: expected a mapping such as 'format_version: 2.0.0', got {_kind(content)}")
    return content


def _loader() -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        """The safe loader; a key given twice is a mistake and not an update."""

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            seen = set()
            for key, _ in node.value:
                if key.value.__hash__ and key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is given twice", key.start_mark)
                seen.add(key.value if key.value.__hash__ else id(key))
            return super().construct_mapping(node, deep)

    return Loader


def _kind(content: object) -> str:
    if content is None:
        return "nothing"
    return "a list" if isinstance(content, list) else repr(content)[:40]


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


def locations(entries: object, origin: str, what: str) -> list[object]:
    """A YAML entry that may be left out, one file or a list of files."""
    if entries is None:
        return []
    if isinstance(entries, str):
        return [entries]
    if not isinstance(entries, list):
        raise InputError(f"{origin}: {what}: expected a list of files, got {entries!r:.60}")
    return entries


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
