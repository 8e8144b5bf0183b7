"""The Python of the guides runs, block after block, on files like those they name."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fits.synergy.wells import from_columns

ROOT = Path(__file__).parents[1]
GUIDES = ROOT / "docs" / "how-to"


def screen(folder: Path) -> None:
    """A matrix of venetoclax and dexamethasone as ``screen.csv``."""
    doses = np.array([0.0, 1.0, 3.0, 10.0, 30.0])
    one, two = (np.repeat(grid.ravel(), 2) for grid in np.meshgrid(doses, doses, indexing="ij"))
    noise = np.random.default_rng(0).normal(0.0, 0.02, one.size)
    data = from_columns(("venetoclax", "dexamethasone"), "nM", one, two, 1 / (1 + one / 5) / (1 + two / 5) + noise)
    data.to_frame().to_csv(folder / "screen.csv", index=False)


@pytest.mark.parametrize("guide, optional", [("synergy", "xarray"), ("interchange", "pyarrow")])
def test_python_blocks_run_one_after_the_other(guide, optional, tmp_path):
    pytest.importorskip(optional)
    text = (GUIDES / f"{guide}.md").read_text(encoding="utf-8")
    script = "\n".join(re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    assert script
    screen(tmp_path)
    # The number of bootstrap sets is all that is made smaller.
    script = script.replace("n=1000", "n=19")
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore", "MPLBACKEND": "agg"},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
