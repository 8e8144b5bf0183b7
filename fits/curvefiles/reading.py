"""Any table of measured curves in, a checked `ReportedCurve` out, in one call.

>>> curve = read_curves("viability.xlsx", arm="drug")                      # doctest: +SKIP
>>> curve = read_curves("figure.csv", dose_unit="ng/ml", log_dose=True)    # doctest: +SKIP

The layout is recognised: *tidy* (a row per point, columns by name), *wide* (doses in the first column and an arm or
replicate in each other one, as Prism has it), or *digitised* (WebPlotDigitizer: two header rows, X and Y by turns;
or two columns of numbers without a header).  What had to be decided is in ``curve.notes``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace

from fits.curvefiles.cells import Table, read_table
from fits.curvefiles.digitised import digitised_rows, is_digitised, is_headless
from fits.petab.tables import Row, as_number, is_empty
from fits.reported import COLUMNS, WITH_UNIT, ReportedCurve, curve_of
from kinetics.errors import InputError, UnitError, UnknownName
from kinetics.units import quantity

ALIASES = {
    "dose": ("dose", "conc", "concentration", "doses", "x"),  # also with a unit at the end: conc_nM
    "response": ("response", "viability", "signal", "effect", "count", "counts", "value", "y", "mfi", "rlu"),
    "arm": ("arm", "group", "curve", "condition", "treatment"),
    "replicate": ("replicate", "rep", "repl"),
    "error": ("error", "sd", "stdev"),
    "donor": ("donor", "patient"),
    "plate": ("plate",),
    "time": ("time",),
    "inhibitor": ("inhibitor", "antagonist"),
    "dose_unit": ("dose_unit", "unit", "units"),
    "response_unit": ("response_unit",),
    "time_unit": ("time_unit",),
    "inhibitor_unit": ("inhibitor_unit", "antagonist_unit"),
    "lower": ("lower",),
    "upper": ("upper",),
}
_BRACKETS = re.compile(r"(.*?)\s*[(\[]\s*([^()\[\]]*?)\s*[)\]]\s*\Z")
_REPLICATE = re.compile(
    r"(.+?)(?:[ :._-]+(?:rep(?:licate)?[ ._-]*)?|[ :._-]*rep(?:licate)?[ ._-]*)([A-Za-z]?\d{1,2})\Z", re.IGNORECASE
)
_STATISTIC = re.compile(r"(.+?)[ :._-]+(mean|avg|sd|sem|se|n)\Z", re.IGNORECASE)


def read_curves(
    path: str | os.PathLike[str],
    *,
    arm: str | Sequence[str] = "",
    dose: str = "",
    response: str = "",
    inhibitor: str = "",
    dose_unit: str = "",
    response_unit: str = "",
    inhibitor_unit: str = "",
    log_dose: bool = False,
    swap_axes: bool = False,
    sheet: str | None = None,
    decimal: str = "",
    source: str = "",
) -> ReportedCurve:
    """Read measured curves from a CSV, TSV or Excel file of any usual layout.

    Args:
        arm: the column, or columns, that tell the arms apart; several are joined to ``"one / other"``.
        dose, response, inhibitor: columns by another name.
        dose_unit, response_unit, inhibitor_unit: where the file does not say them.
        log_dose: doses are given as log10.
        swap_axes: x and y of a digitised figure were mixed up.
        sheet: of an Excel file.
        decimal: ``","`` or ``"."`` where a table could be read both ways.
        source: where the numbers are from, for the record.

    Raises:
        ModelNotFound: there is no such file.
        InputError, UnitError, UnknownName: the table has no meaning; the message names file, line and column.
    """
    table = read_table(path, sheet=sheet, decimal=decimal)
    notes, warnings = list(table.notes), list[str]()
    units: dict[str, str] = {}
    if is_digitised(table) or is_headless(table):
        rows = digitised_rows(table, log_dose=log_dose, swap_axes=swap_axes, notes=notes)
    else:
        if swap_axes:
            raise InputError(
                f"{table.name}: swapping axes is for digitised figures; name the columns with dose= and response="
            )
        chosen = {"dose": dose, "response": response, "inhibitor": inhibitor}
        columns = _columns(table, chosen, (arm,) if isinstance(arm, str) else tuple(arm), units, notes)
        if columns is None:
            rows = _wide(table, units, notes, warnings, log_dose)
        else:
            rows = _tidy(table, columns, (arm,) if isinstance(arm, str) else tuple(arm), notes, log_dose)
    if not rows:
        raise InputError(f"{table.name}: there is no row with a response")
    curve = curve_of(
        rows, units, notes, dose_unit=dose_unit, response_unit=response_unit, inhibitor_unit=inhibitor_unit,
        source=source, any_order=True,
    )  # fmt: skip
    _check_names(curve.arms, table.name)
    return replace(curve, warnings=tuple(warnings))


def _check_names(arms: Sequence[str], name: str) -> None:
    """Refuse arms that differ in nothing a reader would see."""
    seen: dict[str, str] = {}
    for arm in arms:
        key = " ".join(arm.split()).casefold()
        if key in seen:
            raise InputError(
                f"{name}: arms {seen[key]!r} and {arm!r} differ in spaces or capitals only: give them one name"
            )
        seen[key] = arm


# --- tidy -----------------------------------------------------------------------------------------------------


def _columns(
    table: Table, chosen: dict[str, str], arms: Sequence[str], units: dict[str, str], notes: list[str]
) -> dict[int, str] | None:
    """What each column of a tidy table means, by place; ``None`` where the table is wide."""
    header, plain = table.rows[0], []
    found: dict[int, str] = {}
    taken: dict[str, int] = {}
    for cell in header:
        match = _BRACKETS.fullmatch(cell)
        plain.append((match.group(1) if match else cell, match.group(2) if match else ""))
    explicit = {column: meaning for meaning, column in chosen.items() if column}
    for column in (*explicit, *(a for a in arms if a)):
        if column not in header and column not in [name for name, _ in plain]:
            raise UnknownName(
                "column", column, [cell for cell in header if cell], f"{table.name}, line {table.lines[0]}"
            )
    for place, (name, unit) in enumerate(plain):
        meaning = explicit.get(header[place]) or explicit.get(name)
        if meaning is None:
            lowered = name.lower()
            known = any(lowered in names for names in ALIASES.values())  # dose_unit is no dose in units called "unit"
            if not known and lowered.rpartition("_")[0] in ALIASES["dose"] and _suffix(name):
                lowered = lowered.rpartition("_")[0]
            meaning = next((m for m, names in ALIASES.items() if lowered in names and not chosen.get(m)), None)
            if meaning == "arm" and any(arms):
                meaning = None
        if meaning is None:
            continue
        if meaning in taken:
            if name == plain[taken[meaning]][0]:
                raise InputError(f"{table.name}, line {table.lines[0]}: column {header[place]!r} is there twice")
            continue  # the first of several possible names counts
        taken[meaning] = place
        found[place] = meaning
        if not unit and meaning in ("dose", "inhibitor") and "_" in name and name.lower() not in ALIASES[meaning]:
            unit = _suffix(name)
        if unit and meaning in WITH_UNIT:
            units[meaning] = unit
        if name.lower() != meaning:
            notes.append(f"column {header[place]!r} was read as {meaning}")
    if "dose" not in taken or not {"response", "lower", "upper"} & taken.keys():
        if chosen["response"] or any(arms):
            missing = "dose" if "dose" not in taken else "response"
            raise UnknownName("column", missing, [c for c in header if c], f"{table.name}: name it with {missing}=")
        units.clear()
        return None
    return found


def _suffix(name: str) -> str:
    """The unit at the end of ``conc_nM``; nothing where it is none."""
    tail = name.rpartition("_")[2]
    try:
        quantity(f"1 {tail}")
    except UnitError:
        return ""
    return tail


def _tidy(table: Table, columns: dict[int, str], arms: Sequence[str], notes: list[str], log_dose: bool) -> list[Row]:
    header = table.rows[0]
    bare = [(m.group(1) if (m := _BRACKETS.fullmatch(cell)) else cell) for cell in header]
    places = [header.index(a) if a in header else bare.index(a) for a in arms if a]
    unread = [cell for place, cell in enumerate(header) if cell and place not in columns and place not in places]
    if unread:
        notes.append(f"columns without a meaning here were not read: {', '.join(unread[:8])}")
    rows, empty = [], 0
    for line, record in zip(table.lines[1:], table.rows[1:], strict=True):
        if len(record) > len(header):
            raise InputError(
                f"{table.name}, line {line}: {len(record)} cells in a table of {len(header)} columns (a decimal comma? "
                "put the number in quotes, or separate the cells by semicolons)"
            )
        cells = {meaning: record[place] if place < len(record) else "" for place, meaning in columns.items()}
        if places:
            cells["arm"] = " / ".join(record[place] if place < len(record) else "" for place in places)
        if not any(not is_empty(cells.get(what, "")) for what in ("response", "lower", "upper")):
            empty += 1
            continue
        row = Row(table.name, line, cells)
        rows.append(_from_log(row) if log_dose else row)
    if empty:
        notes.append(f"{empty} {'row' if empty == 1 else 'rows'} without a response left out")
    if "replicate" not in columns.values():
        notes.append("there is no column 'replicate': rows of equal dose count as replicates")
    return rows


def _from_log(row: Row) -> Row:
    """The dose of a row given as its log10; ``-inf`` is dose 0."""
    value = row.number("dose", infinite="-")
    if abs(value) > 300.0 and value != float("-inf"):
        raise row.fault("dose", f"10^{value:g} is no dose: is it a logarithm?")
    return Row(row.file, row.line, {**row.cells, "dose": repr(10.0**value)})


# --- wide -----------------------------------------------------------------------------------------------------


def _wide(
    table: Table, units: dict[str, str], notes: list[str], warnings: list[str], log_dose: bool
) -> list[Row]:  # fmt: skip
    """A table with doses in the first column and arms or replicates in the others."""
    header, line = table.rows[0], table.lines[0]
    width = max(len(row) for row in table.rows)
    if width < 2 or len(table.rows) < 2:
        raise UnknownName("column", "response", [c for c in header if c], f"{table.name}, line {line}")
    numeric = sum(as_number(row[0]) is not None for row in table.rows[1:] if row)
    if numeric < 0.5 * (len(table.rows) - 1):
        raise UnknownName(
            "column",
            "dose",
            [c for c in header if c],
            f"{table.name}, line {line} (expected a column per quantity, or doses in the first column)",
        )
    match = _BRACKETS.fullmatch(header[0])
    title = match.group(1) if match else header[0]
    if match:
        units["dose"] = match.group(2)
    logs = log_dose or bool(re.match(r"log(?:10)?\b|log\[", title.strip(), re.IGNORECASE))
    if logs and not log_dose:
        notes.append(f"column {header[0]!r} was read as log10 of the dose")
    places = _arms_of(table, header, width, units, notes)
    warnings += _pooled(header)
    rows, empty = [], 0
    for line, record in zip(table.lines[1:], table.rows[1:], strict=True):
        if not record[0]:
            raise InputError(
                f"{table.name}, line {line}: expected a dose in the first cell, got nothing; write 0 for the untreated"
            )
        for place, (arm, replicate, spread, how) in places.items():
            cell = record[place] if place < len(record) else ""
            if is_empty(cell):
                empty += 1
                continue
            cells = {"dose": record[0], "response": cell, "arm": arm, "replicate": replicate}
            if spread:
                cells["error"] = _spread(table, line, record, spread, how)
            row = Row(table.name, line, cells)
            rows.append(_from_log(row) if logs else row)
    if empty:
        notes.append(f"{empty} empty {'cell was' if empty == 1 else 'cells were'} left out")
    order = {arm: rank for rank, (arm, *_) in enumerate(places.values())}
    rows.sort(key=lambda row: order[row.cells["arm"]])  # arms as the columns have them, whichever has the first number
    notes.append(f"a wide table: {len({a for a, *_ in places.values()})} arms in {len(places)} columns of responses")
    return rows


def _pooled(header: tuple[str, ...]) -> list[str]:
    """Columns that are replicates only because they have one name; a slip in a name would look the same."""
    said = []
    for name in dict.fromkeys(cell for cell in header[1:] if cell):
        places = [str(place) for place, cell in enumerate(header, start=1) if cell == name and place > 1]
        if len(places) > 1:
            whole = "both" if len(places) == 2 else "all"
            shown = f"{', '.join(places[:-1])} and {places[-1]}"
            said.append(f"columns {shown} are {whole} called {name!r} and were taken as replicates")
    return said


def _without_unit(cell: str) -> str:
    match = _BRACKETS.fullmatch(cell)
    return match.group(1) if match and match.group(1) else cell


def _spread(table: Table, line: int, record: tuple[str, ...], spread: int, count: int) -> str:
    """The standard deviation of a mean: its standard error, or the deviation over the root of the number."""
    cell = record[spread] if spread < len(record) else ""
    if is_empty(cell):
        return ""
    value = Row(table.name, line, {"error": cell}).number("error")
    if count >= 0:
        n = Row(table.name, line, {"n": record[count] if count < len(record) else ""}).number("n")
        value /= max(n, 1.0) ** 0.5
    return repr(value) if value > 0.0 else ""


def _arms_of(
    table: Table, header: tuple[str, ...], width: int, units: dict[str, str], notes: list[str]
) -> dict[int, tuple[str, str, int, int]]:
    """Arm, replicate, and the columns of spread and number (0 and -1 for none) of each column of responses."""
    names: list[str] = []
    for place in range(1, width):
        cell = header[place] if place < len(header) else ""
        if as_number(cell) is not None:
            raise InputError(f"{table.name}, line {table.lines[0]}: expected names of arms in the header, got {cell!r}")
        if not cell:
            if not names:
                raise InputError(f"{table.name}, line {table.lines[0]}: the second column has no name")
            cell = names[-1]  # Prism names the first of several replicates
        names.append(cell)
    bare: list[str] = []
    statistics: list[str] = []
    for cell in names:
        match = _BRACKETS.fullmatch(cell)
        name = match.group(1) if match and match.group(1) else cell
        if match and match.group(1):
            units.setdefault("response", match.group(2))
        told = _STATISTIC.fullmatch(name)
        statistics.append(told.group(2).lower() if told else "")
        bare.append(told.group(1) if told else name)
    if not any(word in ("mean", "avg") for word in statistics):
        bare = [_without_unit(c) for c in names]
        statistics = [""] * len(names)
    stems = [m.group(1) if (m := _REPLICATE.fullmatch(name)) else name for name in bare]
    arms = [stem if stems.count(stem) > 1 and name != stem else name for name, stem in zip(bare, stems, strict=True)]
    for place, arm in enumerate(arms):
        if place and arm in arms[:place] and arms[place - 1] != arm:
            raise InputError(
                f"{table.name}, line {table.lines[0]}: arm {arm!r} is there twice, not side by side: give two arms two "
                "names, or put replicates next to each other"
            )
    found: dict[int, tuple[str, str, int, int]] = {}
    counts: dict[str, int] = {}
    for place, (arm, statistic) in enumerate(zip(arms, statistics, strict=True)):
        if statistic in ("sd", "sem", "se", "n"):
            continue
        counts[arm] = counts.get(arm, 0) + 1
        spread, number = 0, -1
        if statistic:
            own = {statistics[i]: i + 1 for i, other in enumerate(arms) if other == arm}
            spread = own.get("sem", own.get("se", own.get("sd", 0)))
            if "sem" not in own and "se" not in own and "sd" in own:
                number = own.get("n", -1)
                if number < 0:
                    notes.append(
                        f"{arm}: standard deviations without a number of replicates count as those of the mean"
                    )
        found[place + 1] = (arm, str(counts[arm]), spread, number)
    return {p: (a, r if counts[a] > 1 else "", s, n) for p, (a, r, s, n) in found.items()}


assert set(ALIASES) == set(COLUMNS)
