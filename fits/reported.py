"""Reported dose-response curves: a tidy table in, a checked `ReportedCurve` out.

Columns go by name: ``dose`` and ``response`` are needed; ``arm``, ``replicate``, ``time``, ``error`` (a standard
deviation), ``lower`` and ``upper`` (limits, where no response is given), ``donor``, ``plate`` and ``inhibitor``
(dose of a second substance) may be there.  Units stand in columns of their own (``dose_unit``, ``response_unit``,
``time_unit``, ``inhibitor_unit``) or in the header: ``dose (ng/ml)``.  Other layouts and kinds of files:
`fits.curve_files.read_curves`.

>>> curve = parse_curve("dose (nM),response\\n1,0.1\\n10,0.5\\n100,0.9\\n")
>>> curve.dose_unit, len(curve)
('nM', 3)
"""

from __future__ import annotations

import csv
import difflib
import io
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fits.petab.files import read_text
from fits.petab.tables import Row, as_number
from kinetics.curves import CurveDescription, describe_points
from kinetics.dosing import DoseProtocol
from kinetics.errors import InputError, UnitError, UnknownName
from kinetics.experiment import Experiment
from kinetics.observable import Readout
from kinetics.units import Quantity, factor, quantity

if TYPE_CHECKING:
    import pandas as pd

FloatArray = npt.NDArray[np.float64]

MOST_BYTES = 5_000_000
MOST_ROWS = 20_000
MOST_COLUMNS = 100
MOST_CHARACTERS = 1_000  # of a cell

_NUMBERS = ("dose", "response", "error", "lower", "upper", "time", "inhibitor")
_UNITS = ("dose_unit", "response_unit", "time_unit", "inhibitor_unit")
_WORDS = ("arm", "replicate", "donor", "plate")
WITH_UNIT = ("dose", "response", "time", "inhibitor")
COLUMNS = (*_NUMBERS, *_UNITS, *_WORDS)
_HEADER_UNIT = re.compile(r"(\w+)\s*[(\[]\s*([^)\]]*?)\s*[)\]]")


@dataclass(frozen=True)
class CurvePoint:
    """One row: a response, or the limits between which it lies."""

    dose: float
    response: float  # NaN where only limits are known
    arm: str = ""
    replicate: str = ""
    time: float = math.nan  # NaN: the time of the read-out
    error: float = math.nan  # standard deviation; NaN: not stated
    lower: float = -math.inf
    upper: float = math.inf
    donor: str = ""
    plate: str = ""
    inhibitor: float = math.nan  # dose of a second substance; NaN where the table has no such column

    @property
    def interval(self) -> bool:
        """Whether the response is known by limits only."""
        return math.isnan(self.response)


@dataclass(frozen=True)
class ReportedCurve:
    """Measured or digitised points of one or several arms, in the units they were reported in."""

    points: tuple[CurvePoint, ...]
    dose_unit: str
    response_unit: str = ""
    time_unit: str = ""
    source: str = ""
    notes: tuple[str, ...] = ()  # what a reader of the table had to decide
    inhibitor_unit: str = ""
    warnings: tuple[str, ...] = ()  # what a reader has to see beside any result

    def __post_init__(self) -> None:
        if not self.points:
            raise InputError("a reported curve needs at least one point")
        for unit, what in ((self.dose_unit, "dose"), (self.time_unit, "time"), (self.inhibitor_unit, "inhibitor")):
            quantity(f"1 {unit}", f"unit of the {what}")
        for point in self.points:
            where = f"a point at dose {point.dose:g}"
            _check_point(point, lambda column, text, where=where: InputError(f"{where}: {column}: {text}"))  # type: ignore[misc]  # mypy infers no lambda with a default

    def __len__(self) -> int:
        return len(self.points)

    @property
    def arms(self) -> tuple[str, ...]:
        """Names of the arms, in order of appearance; ``("",)`` where the table has none."""
        return tuple(dict.fromkeys(point.arm for point in self.points))

    @property
    def doses(self) -> tuple[Quantity, ...]:
        """All doses with their unit, ascending, each once."""
        return tuple(Quantity(dose, self.dose_unit) for dose in sorted({point.dose for point in self.points}))

    def arm(self, name: str) -> ReportedCurve:
        """The points of one arm."""
        if name not in self.arms:
            raise UnknownName("arm", name, self.arms, "the curve")
        return replace(self, points=tuple(point for point in self.points if point.arm == name))

    def once(self) -> ReportedCurve:
        """The same without rows that repeat another to the last digit, replicate aside.

        Digitised figures often list one point as several replicates; as replicates they would count too much.
        """
        seen: dict[object, CurvePoint] = {}
        for point in self.points:
            seen.setdefault(repr(replace(point, replicate="")), point)
        dropped = len(self.points) - len(seen)
        if not dropped:
            return self
        doses = sorted({p.dose for p in self.points if p not in seen.values()})
        note = (
            f"{dropped} {'row repeats' if dropped == 1 else 'rows repeat'} another to the last digit and "
            f"{'was' if dropped == 1 else 'were'} left out (dose {', '.join(f'{d:g}' for d in doses)} {self.dose_unit})"
        )
        return replace(self, points=tuple(seen.values()), notes=(*self.notes, note))

    def protocol(self, target: str, readout: Readout, schedule: Experiment | None = None) -> DoseProtocol:
        """A protocol with the doses of this curve; add what happens before them with `DoseProtocol.before`."""
        return DoseProtocol(target, self.doses, readout, schedule)

    def describe(self) -> CurveDescription:
        """The least-squares Hill curve through all points that have a response.

        Raises:
            InputError: there are fewer than four, or several arms.
        """
        if len(self.arms) > 1:
            raise InputError(f"the curve has several arms ({', '.join(self.arms)}): describe one, with .arm(...)")
        chosen = sorted((p.dose, p.response) for p in self.points if not p.interval)
        return describe_points([dose for dose, _ in chosen], [response for _, response in chosen])

    def to_frame(self) -> pd.DataFrame:
        """Tidy: a row per point."""
        import pandas as pd

        frame = pd.DataFrame([vars(point) for point in self.points])
        frame.insert(1, "dose_unit", self.dose_unit)
        frame.insert(3, "response_unit", self.response_unit)
        return frame


def _check_point(point: CurvePoint, raised: Callable[[str, str], InputError]) -> None:
    """Refuse a point that cannot be; ``raised(column, message)`` makes the error, which says where it is."""
    if not (math.isfinite(point.dose) and point.dose >= 0.0):
        raise raised("dose", f"a dose must be finite and not negative, got {point.dose:g}")
    if math.isinf(point.response):
        raise raised("response", "expected a finite number")
    limits = math.isfinite(point.lower) or math.isfinite(point.upper)
    if point.interval and not limits:
        raise raised("response", "expected a response, or limits in 'lower' or 'upper'; leave out rows without either")
    if not point.interval and limits:
        raise raised(
            "lower",
            "there is a response and a limit: put error bars as a standard deviation into 'error', or leave "
            "the response empty if only limits are known",
        )
    if math.isnan(point.lower) or math.isnan(point.upper) or not point.lower < point.upper:
        raise raised("lower", f"expected lower < upper, got {point.lower:g}, {point.upper:g}")
    if not math.isnan(point.error) and not (math.isfinite(point.error) and point.error > 0.0):
        raise raised("error", f"an error is a standard deviation and must be positive, got {point.error:g}")
    if math.isinf(point.time) and point.time < 0.0:
        raise raised("time", "a time cannot be -inf")
    if not math.isnan(point.inhibitor) and not (math.isfinite(point.inhibitor) and point.inhibitor >= 0.0):
        raise raised("inhibitor", f"a dose must be finite and not negative, got {point.inhibitor:g}")


# --- reading ---------------------------------------------------------------------------------------------------


def read_curve(
    path: str | os.PathLike[str], *, dose_unit: str = "", response_unit: str = "", source: str = ""
) -> ReportedCurve:
    """Read a reported curve from a CSV file (commas, semicolons or tabs).

    Args:
        dose_unit: the unit of all doses where the table does not say it.
        source: where the numbers are from, for the record.

    Raises:
        ModelNotFound: there is no such file.
        InputError, UnitError: the table has no meaning; the message names file, line and column and what to write.
    """
    name = Path(path).name
    return parse_curve(
        read_text(Path(path), MOST_BYTES), name=name, dose_unit=dose_unit, response_unit=response_unit, source=source
    )


def parse_curve(
    text: str, *, name: str = "table", dose_unit: str = "", response_unit: str = "", source: str = ""
) -> ReportedCurve:
    """Read a reported curve from the text of a CSV table; see `read_curve`."""
    return curve_of(*_rows(text, name), dose_unit=dose_unit, response_unit=response_unit, source=source)


def curve_of(
    rows: list[Row],
    units: dict[str, str],
    notes: Iterable[str],
    *,
    dose_unit: str = "",
    response_unit: str = "",
    inhibitor_unit: str = "",
    source: str = "",
    any_order: bool = False,
) -> ReportedCurve:
    """The curve in the rows of a table whose columns have the names of this module.

    Args:
        units: those that stand in the header, by column.
        any_order: rows may come in any order and are sorted; falling doses are no sign of replicates without a number.

    Raises:
        InputError, UnitError: the rows have no meaning together.
    """
    name = rows[0].file
    given = {"dose": dose_unit, "response": response_unit, "time": "", "inhibitor": inhibitor_unit}
    found = {what: _unit(rows, units, what, given[what]) for what in given}
    if not found["dose"]:
        raise UnitError(
            f"{name}: the doses have no unit: add a column 'dose_unit', write it into the header as 'dose (ng/ml)', or "
            "pass dose_unit='ng/ml' (dose_unit='dimensionless' for a number without one)"
        )
    points = []
    for row in rows:
        point = _point(row)
        _check_point(point, row.fault)
        points.append(point)
    for what, values in (("time", [p.time for p in points]), ("inhibitor", [p.inhibitor for p in points])):
        if any(not math.isnan(value) for value in values) and not found[what]:
            example = f"{what} ({_EXAMPLE[what]})"
            whats = "times" if what == "time" else "doses of the inhibitor"
            raise UnitError(
                f"{name}: the {whats} have no unit: add a column '{what}_unit' or write '{example}' in the header"
            )
    _check_order(rows, points, any_order)
    if any_order:
        arms = {arm: rank for rank, arm in enumerate(dict.fromkeys(point.arm for point in points))}
        points.sort(key=lambda p: (arms[p.arm], 0.0 if math.isnan(p.inhibitor) else p.inhibitor, p.dose))
    dose, inhibitor = ("" if found[w] in ("1", "dimensionless") else found[w] for w in ("dose", "inhibitor"))
    return ReportedCurve(
        tuple(points), dose, found["response"], found["time"], source, tuple(notes), inhibitor_unit=inhibitor
    )


def _rows(text: str, name: str) -> tuple[list[Row], dict[str, str], list[str]]:
    """The rows of a table, units that stand in its header, and notes."""
    if len(text) > MOST_BYTES:
        raise InputError(f"{name}: expected at most {MOST_BYTES:,} characters, got {len(text):,}")
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    first = next((line for line in text.split("\n", 50)[:50] if line.strip()), "")
    if not first:
        raise InputError(f"{name}: expected a table with the columns dose, dose_unit and response, got an empty file")
    delimiter = max((",", "\t", ";"), key=first.count)
    header: list[str] = []
    units: dict[str, str] = {}
    notes: list[str] = []
    rows: list[Row] = []
    for line, record in _records(csv.reader(io.StringIO(text), delimiter=delimiter, strict=True), name):
        cells = [cell.strip() for cell in record]
        if not any(cells) or cells[0].startswith("#"):
            continue
        if len(cells) > MOST_COLUMNS or max(map(len, cells)) > MOST_CHARACTERS:
            raise InputError(
                f"{name}, line {line}: more than {MOST_COLUMNS} cells, or one of more than {MOST_CHARACTERS} characters"
            )
        if not header:
            header = _header(cells, name, line, units, notes)
            continue
        other = next((mark for mark in (";", "\t", ",") if mark != delimiter and mark in record[0]), "")
        if other and len(record) == 1 < len(header):
            shown = {"\t": "tabs", ";": "';'", ",": "','"}
            raise InputError(
                f"{name}, line {line}: the cells are separated by {shown[other]} and those of the header by "
                f"{shown[delimiter]}: use one of them"
            )
        if len(cells) > len(header):
            comma = " (a decimal comma? write a point)" if delimiter == "," else ""
            raise InputError(f"{name}, line {line}: {len(cells)} cells in a table of {len(header)} columns{comma}")
        cells += [""] * (len(header) - len(cells))
        rows.append(Row(name, line, dict(zip(header, cells, strict=True))))
        if len(rows) > MOST_ROWS:
            raise InputError(f"{name}: more than {MOST_ROWS:,} rows; a reported curve has tens of points")
    if not rows:
        raise InputError(f"{name}: the table has a header but no rows")
    return rows, units, notes


def _records(reader: Iterator[list[str]], name: str) -> Iterator[tuple[int, list[str]]]:
    line = 0
    while True:
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise InputError(f"{name}, line {line + 1}: not a table: {error}") from None
        line = getattr(reader, "line_num", line + 1)
        yield line, record


def _header(cells: list[str], name: str, line: int, units: dict[str, str], notes: list[str]) -> list[str]:
    """Names of the columns; units in brackets go to ``units``."""
    header = []
    for cell in cells:
        match = _HEADER_UNIT.fullmatch(cell)
        column = (match.group(1) if match else cell).lower()
        if match and column in WITH_UNIT:
            units[column] = match.group(2)
        header.append(column if column in COLUMNS else cell)
    if all(as_number(cell) is not None for cell in cells):
        raise InputError(f"{name}, line {line}: expected a header such as 'dose,dose_unit,response', got numbers")
    twice = sorted({column for column in header if column and header.count(column) > 1})
    if twice:
        raise InputError(f"{name}, line {line}: column {twice[0]!r} is there twice")
    for column in ("dose", "response"):
        if column not in header and not (column == "response" and {"lower", "upper"} & set(header)):
            raise UnknownName("column", column, [c for c in header if c], f"{name}, line {line}")
    for column in header:
        if column and column not in COLUMNS:
            near = difflib.get_close_matches(column.lower(), COLUMNS, n=1, cutoff=0.8)
            if near and near[0] not in header:
                raise InputError(f"{name}, line {line}: column {column!r} is not known; did you mean {near[0]!r}?")
            notes.append(f"column {column!r} has no meaning here and was not read")
    if "replicate" not in header:
        notes.append("there is no column 'replicate': rows of equal dose count as replicates")
    return header


def _unit(rows: list[Row], units: dict[str, str], what: str, given: str) -> str:
    """The one unit of a quantity: from its column, its header or the call."""
    column = f"{what}_unit"
    found = units.get(what, "") or given
    if column in rows[0].cells:
        for row in rows:
            unit = row.cells[column]
            if not unit:
                raise row.fault(column, f"expected the unit of the {what}, as {_EXAMPLE[what]!r}, got an empty cell")
            if found and unit != found and not _same_unit(unit, found):
                raise row.fault(column, f"expected {found!r} as before, got {unit!r}: use one unit per table")
            found = found or unit
    if found and what != "response":
        try:
            quantity(f"1 {'' if found == '1' else found}", f"unit of the {what}")
        except UnitError as error:
            raise UnitError(f"{rows[0].where(column)}: {error}") from None
    return found


_EXAMPLE = {"dose": "ng/ml", "response": "MFI", "time": "min", "inhibitor": "uM"}


def _same_unit(unit: str, other: str) -> bool:
    """Whether two spellings mean one unit: ``ng/ml`` and ``ng/mL``."""
    try:
        return factor(unit, other) == 1.0
    except UnitError:
        return False


def _point(row: Row) -> CurvePoint:
    def number(column: str, default: float) -> float:
        return row.number(column, infinite="+-" if column in ("lower", "upper", "time") else "", default=default)

    text = row.cells["dose"]
    if not text:
        raise row.fault("dose", "expected a dose, got an empty cell; write 0 for the untreated sample")
    return CurvePoint(
        row.number("dose"),
        number("response", math.nan),
        row.cells.get("arm", ""),
        row.cells.get("replicate", ""),
        number("time", math.nan),
        number("error", math.nan),
        number("lower", -math.inf),
        number("upper", math.inf),
        row.cells.get("donor", ""),
        row.cells.get("plate", ""),
        number("inhibitor", math.nan),
    )


def _check_order(rows: list[Row], points: Iterable[CurvePoint], any_order: bool) -> None:
    """Refuse the same replicate given twice, and doses that fall within a series unless any order will do."""
    last: dict[tuple[object, ...], tuple[float, Row]] = {}
    seen: dict[tuple[object, ...], Row] = {}
    for row, point in zip(rows, points, strict=True):
        second = None if math.isnan(point.inhibitor) else point.inhibitor
        time = None if math.isnan(point.time) else point.time
        key = (point.arm, point.replicate, point.donor, point.plate, second, time)
        if key in last and not any_order:
            before, earlier = last[key]
            if point.dose < before:
                hint = "" if point.replicate else ", or number replicates in a column 'replicate'"
                raise row.fault(
                    "dose", f"{point.dose:g} comes after {before:g} in line {earlier.line}: sort the rows by dose{hint}"
                )
        whole = (*key, point.dose)
        if point.replicate and whole in seen:
            raise row.fault(
                "replicate",
                f"replicate {point.replicate!r} of dose {point.dose:g} is already in line {seen[whole].line}: "
                "number the replicates, or leave the column out",
            )
        last[key], seen[whole] = (point.dose, row), row
