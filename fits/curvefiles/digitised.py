"""Digitised figures, as WebPlotDigitizer exports them: names in one row, X and Y by turns in the next, points in any
order.

Error bars are digitised as data sets of their own, called after the curve: ``control upper`` and ``control lower``
(also high and low, top and bottom, max and min, + and -).  Each end goes to the point with the nearest x; half the
bar is the error.  Whether bars are standard deviations or standard errors a figure does not say; they are taken as
the standard deviation of the plotted point, and a note says so.
"""

from __future__ import annotations

import math
import re

from fits.curvefiles.cells import Table
from fits.petab.tables import Row, as_number
from kinetics.errors import InputError

_UP = r"upper|high|hi|top|max|up|\+"
_DOWN = r"lower|low|lo|bottom|min|down|-"
_END = re.compile(
    rf"(.+?)[ :._]*(?:error|err|bar)?[ :._]*(?:({_UP})|({_DOWN}))[ :._]*(?:error|err|bar)?\Z", re.IGNORECASE
)
FURTHEST = 0.1  # of the x axis, between a point and the end of its bar


def is_digitised(table: Table) -> bool:
    """Whether the second row says X, Y, X, Y."""
    if len(table.rows) < 3:
        return False
    second = [cell.lower() for cell in table.rows[1] if cell]
    return len(second) >= 2 and len(second) % 2 == 0 and second == ["x", "y"] * (len(second) // 2)


def is_headless(table: Table) -> bool:
    """Whether the table is two columns of numbers without a header: one digitised data set."""
    return all(len(row) == 2 and all(as_number(cell) is not None for cell in row) for row in table.rows)


def digitised_rows(table: Table, *, log_dose: bool, swap_axes: bool, notes: list[str]) -> list[Row]:
    """The points of all data sets as rows of a tidy table.

    Raises:
        InputError: a data set has no name, a name is there twice, or an error bar belongs to no point.
    """
    sets = _headless(table) if is_headless(table) else _sets(table)
    if swap_axes:
        sets = {name: [(line, y, x) for line, x, y in points] for name, points in sets.items()}
        notes.append("x and y were swapped, as asked for")
    bars = {name: _END.fullmatch(name) for name in sets}
    curves = {name: points for name, points in sets.items() if bars[name] is None or _stem(name) not in sets}
    errors: dict[str, dict[int, list[float]]] = {name: {} for name in curves}
    for name, points in sets.items():
        if name in curves:
            continue
        _attach(table, name, points, _stem(name), curves[_stem(name)], errors[_stem(name)])
    if len(curves) < len(sets):
        notes.append(
            "error bars were taken as standard deviations of the plotted points; a figure does not say whether they "
            "are "
            "standard deviations or standard errors"
        )
    rows = []
    for name, points in curves.items():
        for number, (line, x, y) in enumerate(points):
            if log_dose:
                if abs(x) > 300.0:
                    raise InputError(f"{table.name}, line {line}: 10^{x:g} is no dose: is the x axis a logarithm?")
                x = 10.0**x
            elif x < 0.0:
                raise InputError(
                    f"{table.name}, line {line}, data set {name!r}: a dose must not be negative, got {x:g}; if the "
                    "axis "
                    "shows log10 of the dose pass log_dose=True (--log-dose), if the axes are swapped swap_axes=True "
                    "(--swap-axes)"
                )
            cells = {"dose": repr(x), "response": repr(y), "arm": name}
            if lengths := errors[name].get(number):
                cells["error"] = repr(sum(lengths) / len(lengths))
            rows.append(Row(table.name, line, cells))
    return rows


def _stem(name: str) -> str:
    match = _END.fullmatch(name)
    return match.group(1).strip() if match else name


Points = list[tuple[int, float, float]]  # line, x, y


def _headless(table: Table) -> dict[str, Points]:
    return {"": [(line, float(a), float(b)) for line, (a, b) in zip(table.lines, table.rows, strict=True)]}


def _sets(table: Table) -> dict[str, Points]:
    names, heads = table.rows[0], table.rows[1]
    found: dict[str, Points] = {}
    for place in range(0, len(heads) - 1, 2):
        if not heads[place]:
            continue
        name = names[place] if place < len(names) else ""
        if not name:
            raise InputError(f"{table.name}, line {table.lines[0]}: the data set in column {place + 1} has no name")
        if name in found:
            raise InputError(
                f"{table.name}, line {table.lines[0]}: data set {name!r} is there twice: rename one of them"
            )
        points: Points = []
        for line, row in zip(table.lines[2:], table.rows[2:], strict=True):
            pair = [row[p] if p < len(row) else "" for p in (place, place + 1)]
            if not any(pair):
                continue
            numbers = [Row(table.name, line, {f"{name} {axis}": cell}).number(f"{name} {axis}")
                       for axis, cell in zip("XY", pair, strict=True)]  # fmt: skip
            points.append((line, numbers[0], numbers[1]))
        if points:
            found[name] = points
    if not found:
        raise InputError(f"{table.name}: the data sets are empty")
    return found


def _attach(table: Table, name: str, ends: Points, curve: str, points: Points, errors: dict[int, list[float]]) -> None:
    """Give each end of a bar to the nearest point of its curve."""
    positive = [x for _, x, _ in points if x > 0.0]
    logs = len(positive) == len(points) and max(positive) > 20.0 * min(positive)  # clicked on a log axis

    def place(x: float) -> float:
        return math.log10(max(x, 1e-300)) if logs else x

    width = (max(place(x) for _, x, _ in points) - min(place(x) for _, x, _ in points)) or 1.0
    for line, x, y in ends:
        nearest = min(range(len(points)), key=lambda i: abs(place(points[i][1]) - place(x)))
        if abs(place(points[nearest][1]) - place(x)) > FURTHEST * width:
            raise InputError(f"{table.name}, line {line}: the end of an error bar of {name!r} is at x = {x:g}, where "
                             f"{curve!r} has no point")  # fmt: skip
        length = abs(y - points[nearest][2])
        if length > 0.0:
            errors.setdefault(nearest, []).append(length)
