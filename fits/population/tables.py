"""Tables of viability, well by well: three layouts in, checked `Well`s out.

The layout of the project's own tables is ``drug,sample,screen,dose_nM,replicate,viability``; that of the screens
``sample,lineage,screen,drug,conc_nM,replicate,signal,dmso_median,viability``; a table of means has ``wells`` in place
of ``replicate``.  Which one a file has is told by its columns.  Viability is over the vehicle wells of the same plate;
doses are in nM.
"""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from fits.petab.files import read_text
from fits.petab.tables import Row, as_number
from kinetics.errors import InputError, UnknownName

MOST_TABLE = 50_000_000  # characters
LARGEST = 10.0  # a viability above is in percent, or a signal
OWN = ("drug", "sample", "screen", "dose_nM", "replicate", "viability")
MEANS = ("drug", "sample", "screen", "dose_nM", "wells", "viability")  # of replicate wells
SCREEN = ("sample", "lineage", "screen", "drug", "conc_nM", "replicate", "viability")


@dataclass(frozen=True, order=True)
class Well:
    """One well; replicate wells are wells, not means."""

    drug: str
    sample: str
    screen: str  # a curve is a sample under a drug in a screen
    dose: float  # nM
    viability: float  # over the vehicle wells of the plate


@dataclass(frozen=True)
class Reading:
    """What a table holds, and what of it was passed over, in words."""

    wells: tuple[Well, ...]
    notes: tuple[str, ...] = ()

    @property
    def samples(self) -> tuple[str, ...]:
        return samples_of(self.wells)


def samples_of(wells: Iterable[Well]) -> tuple[str, ...]:
    """The samples, sorted."""
    return tuple(sorted({well.sample for well in wells}))


def carried(name: str) -> Path:
    """A table that comes with the package, in ``fits/data``.

    Raises:
        UnknownName: there is none of that name.
    """
    folder = Path(str(resources.files("fits"))) / "data"
    known = sorted(item.name for item in folder.glob("*.csv"))
    if name not in known:
        raise UnknownName("table", name, known, "fits/data")
    return folder / name


def read_wells(path: str | Path, drugs: Sequence[str], *, lineage: str = "T-ALL") -> Reading:
    """The wells of a table under certain drugs.

    Args:
        path: a CSV file in one of the layouts; further columns do not matter.
        drugs: rows of others are passed over and counted in a note, as are other lineages and wells without a
            viability.
        lineage: for the layout that has such a column.

    Raises:
        ModelNotFound: there is no such file.
        InputError: a column is missing, a number is none, a dose or viability cannot be, or no well is left.
    """
    rows, name = _rows(Path(path)), Path(path).name
    columns = set(rows[0].cells)
    dose_column = "conc_nM" if "conc_nM" in columns else "dose_nM"
    layout = SCREEN if dose_column == "conc_nM" else MEANS if "wells" in columns else OWN
    for column in layout:
        if column not in columns:
            raise UnknownName("column", column, columns, f"{name} (expected {', '.join(layout)})")
    wells: list[Well] = []
    others: Counter[str] = Counter()
    seen: set[tuple[str, ...]] = set()
    for row in rows:
        if "lineage" in layout and row.text("lineage") != lineage:
            others[f"of lineage {row['lineage']!r} rather than {lineage!r}"] += 1
            continue
        drug = row.text("drug").lower()
        if drug not in drugs:
            others["under other drugs than " + " and ".join(drugs)] += 1
            continue
        if not row["viability"]:
            others["without a viability"] += 1
            continue
        dose, viability = _number(row, dose_column), _number(row, "viability")
        if dose <= 0.0:
            raise row.fault(dose_column, f"expected a dose above 0 nM, got {dose:g}")
        if not 0.0 <= viability <= LARGEST:
            raise row.fault("viability", f"expected a fraction of the vehicle, 0 to {LARGEST:g}, got {viability:g}")
        replicate = "1" if layout is MEANS else row.text("replicate")
        key = (row.text("sample"), drug, row.text("screen"), f"{dose:.6g}", replicate)
        if key in seen:
            raise row.fault("replicate", f"{' '.join(key[:3])} at {dose:g} nM has replicate {key[-1]} twice")
        seen.add(key)
        wells.append(Well(drug, key[0], key[2], dose, viability))
    notes = tuple(f"{name}: {count} rows {what} are passed over" for what, count in sorted(others.items()))
    if not wells:
        raise InputError(
            f"{name}: no well of {lineage} samples under {' or '.join(drugs)} among {len(rows)} rows"
            + (f" ({'; '.join(notes)})" if notes else "")
        )
    return Reading(tuple(sorted(wells)), notes)


def _number(row: Row, column: str) -> float:
    found = as_number(row.text(column, "a number"))
    if found is None or not math.isfinite(found):
        raise row.fault(column, f"expected a number, got {row[column][:40]!r}")
    return found


def _rows(path: Path) -> list[Row]:
    text = read_text(path, MOST_TABLE)
    reader = csv.reader(io.StringIO(text), strict=True)
    header: list[str] = []
    rows: list[Row] = []
    try:
        for record in reader:
            cells = [cell.strip() for cell in record]
            if not any(cells):
                continue
            if not header:
                header = cells
                if len(set(header)) != len(header):
                    raise InputError(f"{path.name}: a column is there twice: {', '.join(header)}")
            elif len(cells) != len(header):
                place = f"{path.name}, line {reader.line_num}"
                raise InputError(f"{place}: expected {len(header)} cells as in the header, got {len(cells)}")
            else:
                rows.append(Row(path.name, reader.line_num, dict(zip(header, cells, strict=True))))
    except csv.Error as error:
        raise InputError(f"{path.name}, line {reader.line_num}: not a comma-separated table: {error}") from None
    if not rows:
        got = "a header alone" if header else "nothing"
        raise InputError(f"{path.name}: expected a table with a header and rows, got {got}")
    return rows
