"""Results as files that other tools open: tidy tables as CSV or Parquet, the ending of the name says which.

>>> import pandas as pd, tempfile, pathlib
>>> with tempfile.TemporaryDirectory() as folder:
...     write_table(pd.DataFrame({"dose": [0.0, 1.0], "dose_unit": "nM"}), pathlib.Path(folder) / "doses.csv")
...     print((pathlib.Path(folder) / "doses.csv").read_text())
dose,dose_unit
0.0,nM
1.0,nM
<BLANKLINE>
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Protocol

import pandas as pd

from kinetics.errors import InputError


class Tabular(Protocol):
    """Whatever has a tidy table: time courses, curves, dose matrices, fits, profiles, synergy results."""

    def to_frame(self) -> pd.DataFrame: ...


def write_table(result: Tabular | pd.DataFrame, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write the tidy table of a result, beside first, then renamed.

    CSV has the digits that give the same numbers back; Parquet also keeps the types of the columns.

    Args:
        result: anything with ``to_frame()``, or a frame.
        path: ends in ``.csv`` or ``.parquet``.

    Raises:
        InputError: another ending, a file that is there already, or Parquet without pyarrow.
    """
    target = Path(path)
    kind = target.suffix.lower()
    if kind not in (".csv", ".parquet"):
        raise InputError(f"a table is written as .csv or .parquet, got {target.name!r}")
    if kind == ".parquet":
        check_parquet()
    if target.exists() and not overwrite:
        raise InputError(f"{str(path)!r} exists and is left as it is; pass overwrite=True to replace it")
    frame = result if isinstance(result, pd.DataFrame) else result.to_frame()
    beside = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        if kind == ".csv":
            beside.write_text(frame.to_csv(index=False, lineterminator="\n"), encoding="utf-8", newline="")
        else:
            frame.to_parquet(beside, engine="pyarrow", index=False)
        os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)


def check_parquet() -> None:
    """Refuse Parquet where pyarrow is not installed.

    Raises:
        InputError: saying what to install.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise InputError("Parquet needs pyarrow: pip install 'cytokine-kinetics[parquet]', or write .csv")
