"""The page about a fit: complete, escaped, self-contained; and the numbers behind its figures."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fitted_text import MODEL, TIMES, write_problem
from numpy.testing import assert_allclose
from test_report import EVIL, Page

from fits.fit_page import page, write_page
from fits.fit_report import FitReport, _said, make_report
from fits.objective import compile_problem
from fits.optimise import fit
from fits.panels import panels
from fits.parameters import Parameter
from fits.plotting_fits import MOST_SERIES, plot_panel, plot_profile, plot_waterfall
from fits.problem import Distribution, Measurement, Observable, Problem, replace_problem
from fits.profiles import profiles
from fits.stored import Making, StoredFit, open_fit, prepare_store
from kinetics.errors import InputError
from kinetics.experiment import Experiment, Period
from kinetics.model import Model

OPEN = Experiment(Period(0.0, {"a0": 1.0}))


@pytest.fixture(scope="module")
def stored(tmp_path_factory) -> StoredFit:
    folder = tmp_path_factory.mktemp("report")
    file, store, making = write_problem(folder / "problem"), folder / "fit.sqlite", Making()
    objective = making.objective(making.problem(file))
    prepare_store(store, objective, file, making)
    result = fit(objective, n_starts=3, seed=1, store=store, progress=False)
    profiles(objective, result, ["k1"], store=store)
    return open_fit(store)


@pytest.fixture(scope="module")
def report(stored) -> FitReport:
    return make_report(stored)


@pytest.fixture(scope="module")
def text(report) -> str:
    return page(report)


def harmless(text: str) -> None:
    """Nothing is loaded, and no script or handler is anywhere."""
    found = Page(text)
    for tag, attributes in found.tags:
        assert tag not in ("script", "iframe", "object", "embed", "form", "base")
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "srcset", "data"):
            value = attributes.get(name) or ""
            assert value == "" or value.startswith(("data:image/svg+xml;base64,", "#", "https://doi.org/10."))
    policy = [m for m in found.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in str(policy[0]["content"])


def test_the_page_is_complete(text, report):
    found = Page(text)
    words = " ".join(" ".join(found.text).split())
    ids = {attributes.get("id") for attributes in found.all("section")}
    assert ids == {
        "answer", "question", "model", "data", "fit", "parameters", "identifiability", "checks", "provenance"
    }  # fmt: skip
    for sentence in report.sentences:
        assert " ".join(sentence.split()) in words
    for name in ("k1", "k2", "obs_a", "95 %", "identifiable", "libroadrunner"):
        assert name in words
    assert len(found.all("img")) == 4  # one observable, waterfall, correlations, one profile
    assert all(image.get("alt") for image in found.all("img"))


def test_the_page_loads_nothing(text):
    harmless(text)


def test_no_place_of_this_machine_is_in_it(text, stored):
    assert str(stored.path.parent) not in text
    assert str(Path.home()) not in text or str(Path.home()) == "/"


def test_strings_from_files_are_escaped(report):
    problem = report.fit.problem
    spoiled = replace_strings(problem)
    hostile = replace(
        report,
        title=EVIL,
        sources=(EVIL,),
        problems=(EVIL,),
        fit=replace(report.fit, problem=spoiled),
        panels=tuple(replace(panel, title=EVIL + r"$\frac{", x_label=r"$\oops$") for panel in report.panels),
    )
    made = page(hostile)
    assert "<script" not in made and "\x00" not in made
    harmless(made)


def test_a_species_called_script_is_text(report):
    named = MODEL.replace("end", 'A is "<script>alert(1)</script>"\nend')
    problem = report.fit.problem
    models = {name: Model.load(named, trusted=True) for name in problem.models}
    hostile = replace(report, fit=replace(report.fit, problem=replace_problem(problem, models=models)))
    made = page(hostile)
    assert "<script" not in made
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in made
    harmless(made)


def test_a_bundled_problem_has_its_title_and_source(stored):
    title, sources = _said(replace(stored, problem_file=Path("il7_pstat5")))
    assert "imatinib shift" in title and "Gonnord et al. 2018" in sources[0]


def replace_strings(problem: Problem) -> Problem:
    rows = [replace(row, dataset=EVIL) for row in problem.measurements]
    observables = [replace(o, unit=EVIL) for o in problem.observables.values()]
    return Problem(EVIL, problem.models, problem.parameters, observables, problem.experiments, rows, (EVIL,))


def test_the_page_appears_whole_or_not_at_all(report, tmp_path, monkeypatch):
    target = tmp_path / "fit.html"
    write_page(report, target)
    assert target.read_text() == page(report)
    monkeypatch.setattr("fits.fit_page.page", lambda _: (_ for _ in ()).throw(RuntimeError("out of luck")))
    with pytest.raises(RuntimeError):
        write_page(report, target)
    assert [item.name for item in tmp_path.iterdir()] == ["fit.html"]
    (tmp_path / "mine.html").write_text("mine")
    with pytest.raises(InputError, match="--force"):
        write_page(report, tmp_path / "mine.html")


# --- the numbers behind the figures -------------------------------------------------------------------------


def test_a_panel_over_time_has_the_data_and_the_model_between(stored):
    objective = compile_problem(stored.problem)
    (panel,) = panels(objective, stored.values)
    assert not panel.over_dose and panel.x_label.startswith("time")
    assert [series.label for series in panel.series] == ["low", "high"]
    k1, k2 = stored.values["k1"], stored.values["k2"]
    for series, a0 in zip(panel.series, (1.0, 2.0), strict=True):
        assert_allclose(series.x, TIMES)
        assert_allclose(series.high - series.low, 2 * 0.01)  # one sigma to either side
        by_hand = a0 * (k2 + k1 * np.exp(-(k1 + k2) * series.model_x)) / (k1 + k2)
        assert len(series.model_x) > 50
        assert_allclose(series.model_y, by_hand, rtol=1e-6)


def dose_problem(doses: tuple[float, ...]) -> Problem:
    """A at time 1 is a0 exp(-k1) where nothing comes back; A + 1 is a straight line over the dose a0."""
    experiments = {f"d{i}": Experiment(Period(0.0, {"a0": dose, "k2": 0.0})) for i, dose in enumerate(doses)}
    rows = [Measurement("a", name, 1.0, 0.5 + i) for i, name in enumerate(experiments)]
    rows.append(Measurement("a", "d1", 1.0, float("nan"), lower=0.1, upper=2.0))
    observable = Observable("a", "A + 1", "0.2", Distribution.LOG_NORMAL, unit="MFI")
    parameters = [Parameter("k1", 0.01, 10.0, nominal=0.5)]
    return Problem("doses", Model.load(MODEL, trusted=True), parameters, [observable], experiments, rows)


def test_a_panel_over_dose_is_found_by_what_varies():
    objective = compile_problem(dose_problem((0.0, 1.0, 10.0, 100.0)))
    (panel,) = panels(objective, {"k1": 0.5})
    assert panel.over_dose and panel.x_label == "a0" and panel.y_label == "a [MFI]"
    (series,) = panel.series
    assert_allclose(series.x, [0.0, 1.0, 10.0, 100.0, 1.0])
    assert_allclose(series.model_y, 1.0 + series.model_x * np.exp(-0.5), rtol=1e-6)
    assert len(series.model_x) > 8  # between the doses, too
    assert_allclose(series.high[:4] / series.measured[:4], np.exp(0.2))  # log-normal: a factor
    assert np.isnan(series.measured[4]) and (series.low[4], series.high[4]) == (0.1, 2.0)


def test_figures_draw_what_they_are_given(stored, report):
    result, profile = stored.result, report.profiles["k1"]
    ax = plot_waterfall(result)
    assert_allclose(ax.lines[0].get_ydata(), result.values - result.value)
    ax = plot_panel(report.panels[0])
    assert len(ax.get_legend().get_texts()) == 2
    many = replace(report.panels[0], series=report.panels[0].series * MOST_SERIES)
    assert plot_panel(many).get_legend() is None
    ax = plot_profile(profile)
    assert_allclose(ax.lines[0].get_ydata(), profile.delta)
    assert ax.get_xscale() == ("log" if profile.scale.value != "lin" else "linear")
    doses = panels(compile_problem(dose_problem((0.0, 1.0, 10.0, 100.0))), {"k1": 0.5})
    assert plot_panel(doses[0]).get_xscale() == "symlog"


def test_profiles_of_an_overtaken_optimum_are_not_shown(stored):
    best = stored.result.best
    moved = replace(best, x=best.x + 1e-3)
    other = replace(stored, result=replace(stored.result, starts=(moved, *stored.result.starts[1:])))
    assert make_report(other, gradient=False).profiles == {}
    assert not re.search("profile interval", " ".join(make_report(other, gradient=False).sentences))
