"""The calibration commands: check, fit, profile, sample, report, export; their results and their manners."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from fitted_text import K1, K2, MODEL, files, write_problem
from numpy.testing import assert_allclose
from petab_text import spoiled, write_files

from fits import cli
from fits.petab import read_petab
from fits.result import read_fit
from kinetics.model import Model

ROOT = Path(__file__).parents[1]
COMMANDS = ("check", "fit", "profile", "sample", "report", "export")


@pytest.fixture
def run(capsys):
    """Status, standard output and standard error of a command in this process."""

    def call(*words: object) -> tuple[int, str, str]:
        status = cli.main([str(word) for word in words])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return status, captured.out, captured.err

    return call


@pytest.fixture(scope="module")
def fitted(tmp_path_factory) -> Path:
    """The store of a finished fit beside its problem."""
    folder = tmp_path_factory.mktemp("fitted")
    problem = write_problem(folder / "problem")
    store = folder / "fit.sqlite"
    assert cli.main(["fit", str(problem), "--starts", "4", "--seed", "1", "--store", str(store), "--quiet"]) == 0
    return store


# --- results ------------------------------------------------------------------------------------------------


def test_check_says_what_there_is_and_that_nothing_is_wrong(run, tmp_path):
    status, out, err = run("check", write_problem(tmp_path))
    assert (status, err) == (0, "")
    assert "2 estimated parameters" in out and "The gradient agrees" in out
    assert out.rstrip().endswith("Nothing is wrong.")


def test_check_as_json(run, tmp_path):
    status, out, _ = run("check", write_problem(tmp_path), "--json")
    found = json.loads(out)
    assert status == 0 and found["sound"] and found["gradient"]["sound"]
    assert set(found["gradient"]["by_parameter"]) == {"k1", "k2"}


def test_check_of_a_problem_that_cannot_be_fitted_ends_with_1(run, tmp_path):
    broken = write_files(tmp_path, spoiled(files(), "observables.tsv", "obs_a|A|0.01", "obs_a|A|0.01 - k1"))
    status, out, _ = run("check", broken)
    assert status == 1
    assert "Error: it cannot be evaluated at the nominal values" in out


def test_fit_finds_the_parameters_and_says_so(run, tmp_path):
    status, out, err = run("fit", write_problem(tmp_path), "--starts", 3, "--seed", 2)
    assert (status, err) == (0, "")
    assert "3 of 3 starts end within 0.1 of it" in out
    assert "100 times tighter solver" in out and "it changes nothing" in out
    assert "All 2 derivatives are exact." in out
    values = {line.split()[0]: float(line.split()[1]) for line in out.splitlines() if re.match(r"  k\d ", line)}
    # data of 1 % noise, 14 points: the standard error of either is near 0.02
    assert_allclose([values["k1"], values["k2"]], [K1, K2], atol=0.05)


def test_fit_as_json_holds_everything(run, tmp_path):
    status, out, _ = run("fit", write_problem(tmp_path), "--starts", 2, "--json")
    found = json.loads(out)
    assert status == 0
    assert_allclose(found["parameters"]["k1"]["value"], K1, atol=0.05)
    assert len(found["starts"]) == 2 and not found["tolerance_check"]["changes_conclusion"]
    assert found["inexact"] == {}
    assert str(tmp_path) not in out  # no path of the machine


def test_a_fit_goes_on_and_does_nothing_twice(run, tmp_path):
    problem, store = write_problem(tmp_path), tmp_path / "fit.sqlite"
    assert run("fit", problem, "--starts", 2, "--seed", 3, "--store", store)[0] == 0
    first = {start.index: start for start in read_fit(store).starts}
    status, _, err = run("fit", problem, "--starts", 4, "--seed", 3, "--store", store)
    assert status == 0 and "everything is kept" in err
    second = {start.index: start for start in read_fit(store).starts}
    assert sorted(second) == [0, 1, 2, 3]
    for index, start in first.items():
        assert start.circumstances == second[index].circumstances  # the stored ones, not computed again
    status, out, _ = run("fit", problem, "--starts", 3, "--seed", 3, "--store", store)
    assert status == 0 and "of 3 starts end" in out
    assert "The store holds 4 starts; this is about the first 3" in out
    whole = tmp_path / "whole.sqlite"
    assert run("fit", problem, "--starts", 4, "--seed", 3, "--store", whole, "--workers", 2, "--quiet")[0] == 0
    for start in read_fit(whole).starts:
        assert start.to_document() == second[start.index].to_document()


def test_hierarchical_is_the_same_optimum(run, tmp_path):
    text = spoiled(files(), "observables.tsv", "obs_a|A|0.01", "obs_a|A|sd")
    text = spoiled(text, "parameters.tsv", "k1|0.01", "sd|0.0001|10|0.05|true\nk1|0.01")
    problem = write_files(tmp_path, text, MODEL)
    flat = json.loads(run("fit", problem, "--starts", 2, "--json")[1])
    store = tmp_path / "h.sqlite"
    solved = json.loads(run("fit", problem, "--starts", 2, "--json", "--hierarchical", "--store", store)[1])
    assert solved["names"] == ["k1", "k2"]
    assert_allclose(solved["objective"], flat["objective"], atol=1e-5)
    for name in ("k1", "k2", "sd"):
        assert_allclose(solved["parameters"][name]["value"], flat["parameters"][name]["value"], rtol=1e-3)
    status, out, _ = run("profile", store, "k1")
    assert status == 0 and "sd has no profile of its own: it is solved for inside of the objective" in out
    status, _, err = run("profile", store, "sd")
    assert status == 2 and "without --hierarchical to profile" in err
    status, out, _ = run("export", store, "--json", "--petab", tmp_path / "petab")
    assert status == 0
    assert_allclose(json.loads(out)["parameters"]["sd"], flat["parameters"]["sd"]["value"], rtol=1e-3)


def test_profile_gives_intervals_and_verdicts(run, fitted):
    status, out, _ = run("profile", fitted, "--json")
    found = json.loads(out)
    assert status == 0
    assert found["verdicts"] == {"k1": "identifiable", "k2": "identifiable"}
    for item, value in zip(found["profiles"], (K1, K2), strict=True):
        assert item["lower"] < value < item["upper"]
        assert item["upper"] - item["lower"] < 0.3
    status, out, _ = run("profile", fitted, "k1", "--csv", "-")
    rows = list(csv.DictReader(out.splitlines()))
    assert status == 0 and {row["name"] for row in rows} == {"k1"}
    status, out, _ = run("profile", fitted, "k1")
    assert "95 % profile interval" in out and "verdict" in out


@pytest.mark.skipif(importlib.util.find_spec("emcee") is None, reason="emcee is optional and not installed")
def test_sample_draws_from_the_posterior(run, fitted):
    status, out, _ = run("sample", fitted, "--steps", 100, "--seed", 1, "--csv", "-")
    rows = list(csv.DictReader(out.splitlines()))
    assert status == 0
    assert_allclose(np.median([float(row["k1"]) for row in rows]), K1, atol=0.1)
    status, out, _ = run("sample", fitted, "--steps", 100, "--seed", 1, "--json")
    assert json.loads(out)["steps"] == 100


def test_report_writes_a_page_and_leaves_other_files_alone(run, fitted, tmp_path):
    page = tmp_path / "page.html"
    status, out, err = run("report", fitted, "--output", page)
    assert status == 0 and "The best objective" in out and "the page is" in err
    assert "<html" in page.read_text()
    assert run("report", fitted, "--output", page)[0] == 0  # a page of its own is replaced
    other = tmp_path / "thesis.html"
    other.write_text("mine")
    status, _, err = run("report", fitted, "--output", other)
    assert status == 2 and "--force" in err and other.read_text() == "mine"


def test_export_writes_the_model_with_its_fitted_values(run, fitted, tmp_path):
    sbml, antimony, petab = tmp_path / "m.xml", tmp_path / "m.ant", tmp_path / "petab"
    status, out, _ = run("export", fitted, "--sbml", sbml, "--antimony", antimony, "--petab", petab)
    assert status == 0
    best = {name: 10.0**x for name, x in read_fit(fitted).parameters.items()}
    for path in (sbml, antimony):
        model = Model.load(path, trusted=True)
        assert_allclose([model.entity(name).value for name in best], list(best.values()), rtol=1e-12)
    again = read_petab(petab, trusted=True)
    assert_allclose([again.parameters[name].nominal for name in best], list(best.values()), rtol=1e-12)
    assert "Experiments of the problem set a0" in out
    status, _, err = run("export", fitted, "--sbml", sbml)
    assert status == 2 and "--force" in err
    assert run("export", fitted, "--petab", tmp_path / "one", "--version", 1)[0] == 0
    assert "format_version: 1" in next((tmp_path / "one").glob("*.yaml")).read_text()


def test_export_of_a_json_result(run, tmp_path):
    problem = write_problem(tmp_path / "problem")
    result = tmp_path / "result.json"
    result.write_text(run("fit", problem, "--starts", 2, "--json")[1])
    status, _, err = run("export", result, "--sbml", tmp_path / "m.xml")
    assert status == 2 and "--problem" in err  # its problem was named by an absolute path, which is not kept
    assert run("export", result, "--problem", problem, "--sbml", tmp_path / "m.xml")[0] == 0
    assert_allclose(Model.load(tmp_path / "m.xml", trusted=True).entity("k1").value, K1, atol=0.05)


# --- manners ------------------------------------------------------------------------------------------------


def test_a_changed_problem_is_refused_with_what_changed(run, tmp_path):
    problem, store = write_problem(tmp_path), tmp_path / "fit.sqlite"
    assert run("fit", problem, "--starts", 1, "--store", store)[0] == 0
    table = tmp_path / "measurements.tsv"
    table.write_text(table.read_text().replace("\t0.3\t", "\t0.4\t"))
    for words in (
        ("fit", problem, "--starts", 1, "--store", store),
        ("profile", store),
        ("export", store, "--petab", "x"),
    ):
        status, out, err = run(*words)
        assert (status, out) == (2, "")
        assert "changed: measurements" in err
    assert len(read_fit(store).starts) == 1


def test_a_problem_that_moved_is_asked_for(run, tmp_path):
    problem, store = write_problem(tmp_path / "here"), tmp_path / "fit.sqlite"
    assert run("fit", problem, "--starts", 1, "--store", store)[0] == 0
    (tmp_path / "here").rename(tmp_path / "there")
    status, _, err = run("profile", store, "k1")
    assert status == 2 and "pass --problem" in err
    assert run("profile", store, "k1", "--problem", tmp_path / "there")[0] == 0


def test_a_folder_may_move_with_its_store(run, tmp_path):
    problem = write_problem(tmp_path / "one")
    assert run("fit", problem, "--starts", 1, "--store", tmp_path / "one" / "fit.sqlite")[0] == 0
    (tmp_path / "one").rename(tmp_path / "two")
    assert run("export", tmp_path / "two" / "fit.sqlite", "--sbml", tmp_path / "m.xml")[0] == 0


def test_no_start_that_succeeds_is_status_1(run, tmp_path):
    text = spoiled(files(), "observables.tsv", "obs_a|A|0.01", "obs_a|A|0 - k1")
    status, out, _ = run("fit", write_files(tmp_path, text, MODEL), "--starts", 2)
    assert status == 1
    assert "derivatives are exact" not in out  # of what was never found nobody asks that
    assert "All 2 starts failed" in out and "sigma of observable 'obs_a' must be positive" in out


@pytest.mark.parametrize(
    "words, said",
    [
        (("fit", "nowhere.yaml"), "nowhere.yaml"),
        (("check", "nowhere.yaml"), "nowhere.yaml"),
        (("profile", "nowhere.sqlite"), "nowhere.sqlite"),
        (("export", "nowhere.sqlite", "--sbml", "m.xml"), "nowhere.sqlite"),
        (("export", "nowhere.sqlite"), "nothing to write"),
        (("report", "nowhere.sqlite", "--output", "no/such/page.html"), "folder does not exist"),
        (("fit", "PROBLEM", "--starts", "0"), "at least 1 start"),
        (("fit", "PROBLEM", "--workers", "0"), "--workers must be at least 1"),
        (("fit", "PROBLEM", "--seed", "-1"), "seed must not be negative"),
        (("fit", "PROBLEM", "--rtol", "2"), "rtol"),
        (("fit", "PROBLEM", "--sampling", "grid"), "--sampling"),
        (("fit", "PROBLEM", "--csv", "-", "--json"), "standard output"),
        (("fit", "PROBLEM", "--case", "one"), "no cases"),
        (("fit", "PROBLEM", "--store", "PROBLEM"), "is damaged"),
        (("profile", "STORE", "k9"), "k9"),
        (("profile", "STORE", "--level", "2"), "--level"),
        (("profile", "PROBLEM"), "is damaged"),
        (("export", "STORE", "--sbml", "no/such/m.xml"), "no folder"),
        (("export", "STORE", "--sbml", "m.xml", "--model", "other"), "other"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(run, tmp_path, fitted, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    places = {"PROBLEM": str(write_problem(tmp_path / "problem")), "STORE": str(fitted)}
    status, out, err = run(*(places.get(word, word) for word in words))
    assert (status, out) == (2, "")
    assert said in err and len(err.splitlines()) == 1


def test_damaged_results_are_refused(run, fitted, tmp_path):
    cut = tmp_path / "cut.sqlite"
    cut.write_bytes(fitted.read_bytes()[:3000])
    status, _, err = run("profile", cut)
    assert status == 2 and "damaged" in err
    for text in ("{", "{}", '{"starts": [1]}', '{"starts": [], "provenance": {}}'):
        broken = tmp_path / "broken.json"
        broken.write_text(text)
        status, _, err = run("export", broken, "--sbml", tmp_path / "m.xml")
        assert status == 2 and "kinetics fit --json" in err


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_whose_options_exist(run, command):
    status, out, _ = run(command, "--help")
    assert status == 0
    examples = [line.strip() for line in out.partition("example:")[2].splitlines() if line.strip()]
    assert examples
    for example in examples:
        words = shlex.split(example.partition("#")[0].partition(">")[0])
        assert words[:2] == ["kinetics", command]
        cli.parser().parse_args(words[1:])  # raises where an option does not exist
    assert command in run("--help")[1]


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to send")
def test_ctrl_c_keeps_what_is_finished(tmp_path):
    problem, store = write_problem(tmp_path), tmp_path / "fit.sqlite"
    words = [sys.executable, "-m", "fits.cli", "fit", str(problem), "--starts", "100000", "--store", str(store)]
    child = subprocess.Popen(
        words, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    try:
        until = time.monotonic() + 60.0
        while time.monotonic() < until and not _started(store):
            time.sleep(0.1)
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=30)
    finally:
        child.kill()
    assert child.returncode == 130
    assert "Traceback" not in err and "run the same command again to go on" in err
    assert read_fit(store).starts


def _started(store: Path) -> bool:
    try:
        return bool(read_fit(store).starts)
    except Exception:  # the store is being made: not there yet, or not readable yet
        return False
