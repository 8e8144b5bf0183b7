"""The page of `reproduce`: complete, escaped, self-contained, written whole or not at all."""

from __future__ import annotations

import getpass
import os
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fits import page as shared
from fits import report
from fits.claims.verdict import Share, Status, Verdict
from fits.reproduce import Reproduction, reproduce
from kinetics.errors import InputError

EVIL = "<script>alert('x')</script>\"&\x00"
VOID = {"meta", "img", "br", "link", "input"}


class Page(HTMLParser):
    """Tags with their attributes; complains when they are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def reproduction() -> Reproduction:
    return reproduce()


@pytest.fixture(scope="module")
def text(reproduction: Reproduction) -> str:
    return report.page(reproduction)


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def test_every_claim_is_there_with_what_belongs_to_it(reproduction, page):
    said = " ".join(" ".join(page.text).split())
    for verdict in reproduction.verdicts:
        for part in (verdict.claim.id, verdict.claim.statement, verdict.claim.criterion, verdict.value):
            assert " ".join(part.split()) in said, verdict.claim.id
    answered = [verdict for verdict in reproduction.verdicts if verdict.answered]
    assert len(page.all("article")) == len(answered)


def test_shares_are_on_the_card_of_their_claim(reproduction):
    share = Share(12, 34, "sets <of> this test")
    verdicts = tuple(v.with_shares({"draws": share}) if v.claim.id == "B03" else v for v in reproduction.verdicts)
    said = report.page(replace(reproduction, verdicts=verdicts))
    before = report.page(reproduction).count("<dt>Holds in</dt>")
    assert said.count("<dt>Holds in</dt>") == before + 1
    assert "12 of 34 sets &lt;of&gt; this test (35.3 %)" in said[said.index('id="claim-B03"') :].split("</article>")[0]


def test_failures_come_first(reproduction, text):
    places = {v.claim.id: text.index(f'id="claim-{v.claim.id}"') for v in reproduction.verdicts if v.answered}
    failing = [places[v.claim.id] for v in reproduction.with_status(Status.FAILS)]
    holding = [places[v.claim.id] for v in reproduction.with_status(Status.HOLDS)]
    assert failing == sorted(failing)
    if failing and holding:
        assert max(failing) < text.index('<section id="figures">') < min(holding)


def test_it_loads_nothing(page, text):
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & {tag for tag, _ in page.tags}
    for tag, attributes in page.tags:
        for name in ("src", "srcset", "data", "poster"):
            value = attributes.get(name)
            assert value is None or value.startswith("data:image/"), (tag, name)
        assert not [name for name in attributes if name.startswith("on")]
    assert "@import" not in text and "url(" not in text
    policies = [a for a in page.all("meta") if (a.get("http-equiv") or "") == "Content-Security-Policy"]
    assert "default-src 'none'" in (policies[0]["content"] or "")


def test_links_lead_to_sections_or_dois(page):
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    for attributes in page.all("a"):
        target = attributes["href"] or ""
        assert target.startswith("https://doi.org/10.") or target.removeprefix("#") in ids, target


def test_it_can_be_read_by_everyone(page):
    assert page.all("html")[0]["lang"] == "en"
    assert any(a.get("name") == "viewport" for a in page.all("meta"))
    images = page.all("img")
    assert len(images) == 4  # CD4, CD8, measured points, lines of T-ALL cells
    for attributes in images:
        assert len(attributes["alt"] or "") > 40
    assert all("scope" in attributes for attributes in page.all("th"))
    assert [tag for tag, _ in page.tags].count("h1") == 1


def test_provenance_without_names_or_paths(reproduction, text):
    for name, version in reproduction.versions.items():
        assert name in text and version in text
    words = re.sub(r"base64,[A-Za-z0-9+/=]+", "", text)
    assert str(Path.cwd()) not in words and str(Path.home()) + "/" not in words
    assert not re.search(r"(?<![\w.])/(home|Users|root|tmp|work|usr)/", words)
    assert f"{getpass.getuser()}@" not in words
    assert "nothing here is random" in words


def evil(reproduction: Reproduction) -> Any:
    """The same result with hostile text wherever text can stand."""
    subsets = tuple(
        replace(
            subset,
            cells=EVIL,
            title=EVIL,
            control=replace(subset.control, target=EVIL, readout=EVIL, label=EVIL),
            imatinib=replace(subset.imatinib, target=EVIL, readout=EVIL, label=EVIL),
            shift=replace(subset.shift, labels=(EVIL, EVIL)),
        )
        for subset in reproduction.subsets
    )
    cases = tuple(replace(case, title=EVIL) for case in reproduction.measured.cases)
    simulated = replace(reproduction.measured.simulated, target=EVIL, readout=EVIL)
    measured = replace(reproduction.measured, cases=cases, simulated=simulated, source=EVIL)
    claim = replace(
        reproduction.verdicts[0].claim,
        id=EVIL, statement=EVIL, source=f"{EVIL} doi:10.1234/x<script>", protocol=EVIL, readout=EVIL, criterion=EVIL,
    )  # fmt: skip
    verdicts = tuple(Verdict(claim, status, EVIL, {}, EVIL) for status in Status)
    return replace(reproduction, subsets=subsets, measured=measured, verdicts=verdicts, versions={EVIL: EVIL})


def test_hostile_text_stays_text(reproduction):
    text = report.page(evil(reproduction))
    page = Page(text)
    assert not page.all("script")
    assert "<script" not in text
    assert "\x00" not in text
    assert "alert('x')" in " ".join(page.text)  # shown, not dropped


def test_page_without_failures_says_so_by_leaving_the_section_out(reproduction):
    held = tuple(v for v in reproduction.verdicts if v.status is Status.HOLDS)
    page = Page(report.page(replace(reproduction, verdicts=held)))
    ids = [attributes.get("id") for attributes in page.all("section")]
    assert ids == ["figures", "holds", "predictions", "provenance"]


# --- writing ------------------------------------------------------------------------------------------------


def test_its_own_page_is_replaced_and_others_are_kept(reproduction, tmp_path):
    path = tmp_path / "page.html"
    report.write_page(reproduction, path)
    report.write_page(reproduction, path)
    path.write_text("mine")
    with pytest.raises(InputError, match="--force"):
        report.write_page(reproduction, path)
    assert path.read_text() == "mine"
    report.write_page(reproduction, path, force=True)
    assert path.read_text(encoding="utf-8") == report.page(reproduction)
    with pytest.raises(InputError, match="folder"):
        report.write_page(reproduction, tmp_path)


def test_a_page_that_cannot_be_finished_leaves_the_old_one(reproduction, tmp_path, monkeypatch):
    path = tmp_path / "page.html"
    report.write_page(reproduction, path)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shared, "os", SimpleNamespace(fdopen=os.fdopen, chmod=os.chmod, replace=full))
    with pytest.raises(OSError, match="No space"):
        report.write_page(reproduction, path)
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["page.html"]


@pytest.mark.slow
def test_a_browser_shows_it_without_scrolling_sideways(reproduction, tmp_path):
    """Phone width, in a frame, because a browser window cannot be that narrow."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("no Chromium here")
    report.write_page(reproduction, tmp_path / "page.html")
    (tmp_path / "frame.html").write_text(
        '<iframe src="page.html" style="width:390px;height:800px;border:0"></iframe><p id="out"></p><script>'
        "onload = () => { const d = document.querySelector('iframe').contentDocument; document.getElementById('out')"
        ".textContent = 'width ' + d.documentElement.scrollWidth + ' images ' + "
        "[...d.images].filter(i => i.complete && i.naturalWidth > 0).length; }</script>"
    )
    done = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files",
         f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=5000", "--dump-dom",
         (tmp_path / "frame.html").as_uri()],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    found = re.search(r"width (\d+) images (\d+)", done.stdout)
    assert found, done.stderr[-500:]
    assert int(found.group(1)) <= 390
    assert int(found.group(2)) == 4
