"""The site has every page, notebook and module in it without being told, and builds without a warning."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


@pytest.fixture
def hooks(monkeypatch) -> ModuleType:
    """`docs/mkdocs_hooks.py`; what it needs of mkdocs is only called when a site is built."""
    for name in ("mkdocs", "mkdocs.plugins", "mkdocs.structure", "mkdocs.structure.files"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sys.modules["mkdocs.plugins"].event_priority = lambda _: lambda function: function
    sys.modules["mkdocs.structure.files"].File = sys.modules["mkdocs.structure.files"].Files = object
    spec = importlib.util.spec_from_file_location("mkdocs_hooks", DOCS / "mkdocs_hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def listed(nav: object) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    parts = nav.values() if isinstance(nav, dict) else nav
    return [page for part in parts for page in listed(part)]


def test_every_page_and_notebook_is_in_the_navigation(hooks):
    pages = listed(hooks.on_config({})["nav"])
    assert len(pages) == len(set(pages))
    written = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    assert written <= set(pages)
    assert {f"tutorials/{path.name}" for path in (ROOT / "notebooks").glob("*.ipynb")} <= set(pages)
    made = {"index.md", "what-this-does-not-do.md", "changelog.md", "reference/command-line.md"}
    assert made <= set(pages)
    tutorials = {f"tutorials/{path.name}" for path in hooks.notebooks()}
    assert set(pages) - written - made - tutorials == {f"reference/{name}.md" for name in hooks.sections()}


def test_the_reference_has_every_module(hooks):
    text = "".join(hooks.reference().values())
    for package in ("kinetics", "fits"):
        for path in (ROOT / package).glob("*.py"):
            if path.name != "__init__.py":
                assert f"::: {package}.{path.stem}\n" in text


def test_the_command_line_is_complete(hooks):
    said = hooks.command_line()
    for name in ("models", "fit", "report", "reproduce", "doctor"):
        assert f"## kinetics {name}\n" in said
    assert "--hierarchical" in said


def test_what_is_not_here_is_a_page(hooks):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    said = hooks.relinked(hooks.section(readme, hooks.LIMITS))
    assert "Anything to decide a treatment by" in said and "](docs/" not in said
    with pytest.raises(ValueError, match="no section 'Nothing'"):
        hooks.section(readme, "Nothing")


def test_links_of_the_readme_lead_into_the_site_or_stay_words(hooks):
    text = "[a](docs/data.md) [b](notebooks/x.ipynb) [c](LICENSE) [d](https://e.org) ![f](docs/img/shift.png)"
    said = hooks.relinked(text)
    assert said == "[a](data.md) [b](tutorials/x.ipynb) c [d](https://e.org) ![f](img/shift.png)"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_site_builds_without_a_warning(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT, capture_output=True, text=True, timeout=1700,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "site" / "tutorials" / "01_first_curve.html").is_file()
