"""The page of a fit in a real browser, as wide as a phone: nothing fails, nothing is loaded, nothing sticks out."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fits.fit_page import write_page
from fits.fit_report import make_report
from fits.optimise import fit
from fits.profiles import profiles
from fits.starts import StartDesign
from fits.stored import Making, open_fit, prepare_store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser() -> Any:
    """Chromium, that of the system first; else one that playwright can install."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    here = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if here is None:
        done = subprocess.run(
            [sys.executable, "-m", "playwright", "install", "chromium"], capture_output=True, text=True, timeout=600
        )
        if done.returncode:
            pytest.skip(f"no browser here, and none can be installed: {done.stderr.strip().splitlines()[-1:]}")
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=here, args=["--no-sandbox", "--disable-gpu"], timeout=240_000)
        yield found
        found.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    """The bundled problem: data with a source, reported shifts, parameters that are solved for, one profile."""
    folder = tmp_path_factory.mktemp("page")
    store, making = folder / "fit.sqlite", Making(hierarchical=True)
    objective = making.objective(making.problem("il7_pstat5"))
    prepare_store(store, objective, "il7_pstat5", making)
    result = fit(objective, n_starts=2, seed=1, store=store, design=StartDesign(candidates=1), progress=False)
    profiles(objective, result, ["kp"], store=store, progress=False)
    target = folder / "page.html"
    write_page(make_report(open_fit(store), gradient=False), target)
    return target


def test_the_report_reads_well_on_a_phone(browser, report, tmp_path):
    page = browser.new_page(viewport=PHONE)
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(report.as_uri(), wait_until="load", timeout=240_000)
    assert said == []
    assert [url[:60] for url in asked if not url.startswith(("file:", "data:"))] == []
    drawn = page.evaluate("[...document.images].map(i => [i.complete, i.naturalWidth, i.clientWidth, i.alt.length])")
    assert len(drawn) >= 4  # the curve, all starts, the profile, the shift
    assert all(done and natural > 0 and width <= PHONE["width"] and words for done, natural, width, words in drawn)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    words = page.inner_text("body")
    assert "Gonnord et al. 2018" in words and "with the imatinib shift" in page.title()  # a bundled problem says both
    rows = page.evaluate("Math.max(...[...document.querySelectorAll('tr')].map(r => r.clientHeight))")
    assert rows <= 250  # no row is high because a long text stands in a narrow column
    sections = page.evaluate("[...document.querySelectorAll('section')].map(s => s.id)")
    assert sections == [
        "answer", "question", "model", "data", "fit", "parameters", "identifiability", "shift", "checks", "provenance"
    ]  # fmt: skip
    # Words in tables and captions stay large enough to read.
    smallest = page.evaluate(
        "Math.min(...[...document.querySelectorAll('p, li, td, th, dd, figcaption, summary')]"
        ".map(e => parseFloat(getComputedStyle(e).fontSize)))"
    )
    assert smallest >= 12.0
    picture = tmp_path / "phone.png"
    page.screenshot(path=str(picture), full_page=True, timeout=240_000)
    assert picture.stat().st_size > 50_000
    page.close()
