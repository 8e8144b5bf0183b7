"""Notebooks as they lie in the repository: without outputs, from `pip install` on.  `make test-all` runs them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def test_the_notebooks_are_there():
    names = [path.name[:2] for path in NOTEBOOKS]
    assert {"01", "02", "03", "05"} <= set(names) and len(names) == len(set(names))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_clean(path):
    content = json.loads(path.read_text(encoding="utf-8"))
    cells = content["cells"]
    for cell in cells:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None, "outputs belong to whoever runs it"
    first = "".join(cells[0]["source"])
    assert cells[0]["cell_type"] == "markdown" and first.startswith("# ") and "pip install" in first
    last = [cell for cell in cells if cell["cell_type"] == "markdown"][-1]
    assert len("".join(last["source"])) > 100, "a notebook ends with what it does not show, or where to go on"
    ids = [cell["id"] for cell in cells]
    assert len(ids) == len(set(ids))
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    assert not re.search(r"\.\./shared|/home/|/work/", code), "a reader has no such folder"
