"""The command line: its results, its manners with bad input, and that it starts quickly."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import ANTAGONIST, DECAY, UNITS
from numpy.testing import assert_allclose

import kinetics as kin
from fits import cli

ROOT = Path(__file__).parents[1]
IL7 = "il7_stat5_imatinib"
COMMANDS = ("models", "show", "validate", "simulate", "dose-response", "shift", "reproduce", "doctor")
START = "import sys; from fits.cli import main; sys.exit(main())"


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}


@pytest.fixture
def run(capsys):
    """Status, standard output and standard error of a command in this process."""

    def call(*words: str) -> tuple[int, str, str]:
        status = cli.main(list(words))
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


@pytest.fixture
def decay_file(tmp_path) -> str:
    path = tmp_path / "decay.ant"
    path.write_text(DECAY)
    return str(path)


@pytest.fixture
def antagonist_file(tmp_path) -> str:
    """In nM and minutes: K_d of the agonist is 2 nM, K_b of the blocker 0.5 nM."""
    head, body = ANTAGONIST.split("\n", 1)
    units = f"{UNITS}  L has nM; B has nM; R has nM; C has nM; X has nM\n"
    path = tmp_path / "antagonist.ant"
    path.write_text(f"{head}\n{units}{body}")
    return str(path)


def rows(text: str) -> list[list[str]]:
    return [line.split("\t") for line in text.strip().splitlines()]


# --- results ------------------------------------------------------------------------------------------------


def test_models_lists_every_bundled_model(run):
    status, out, err = run("models")
    assert (status, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == [entry.name for entry in kin.catalogue.models()]


def test_simulation_of_a_decay_is_the_exponential(run, decay_file):
    status, out, _ = run("simulate", decay_file, "--times", "0,5,20", "--observe", "A", "--observe", "2*A + P")
    assert status == 0
    assert rows(out)[0] == ["time", "A", "2*A + P"]
    table = np.array(rows(out)[1:], dtype=float)
    exact = 10.0 * np.exp(-0.1 * table[:, 0])
    assert_allclose(table[:, 1], exact, rtol=1e-6)  # the solver runs at 1e-8 per step
    assert_allclose(table[:, 2], exact + 11.0, rtol=1e-6)  # A + P = 11


def test_parameters_and_steps_reach_the_simulation(run, decay_file):
    """Ten minutes at k = 0.2 before time 0, then a dose of 4: A = 4 exp(-0.2 t)."""
    words = ("simulate", decay_file, "--param", "k=0.2", "--step", "10:P=0", "--set", "A=4")
    status, out, _ = run(*words, "--times=-10,0,5", "--observe", "A", "--observe", "P", "--json")
    assert status == 0
    found = {item["name"]: item["values"] for item in json.loads(out)["observables"]}
    before = 10.0 * (1.0 - math.exp(-2.0))
    assert_allclose(found["A"], [10.0, 4.0, 4.0 * math.exp(-1.0)], rtol=1e-6)
    assert_allclose(found["P"], [0.0, before, before + 4.0 * (1.0 - math.exp(-1.0))], rtol=1e-6, atol=1e-9)


def test_simulate_agrees_with_the_library_and_names_units(run):
    words = ("--step", "24 h:Imatinib=3 uM", "--step", "1 h:Imatinib=0", "--set", "IL7=1 ng/ml")
    status, out, _ = run("simulate", IL7, *words, "--times", "0,30", "--observe", "pSTAT5_total")
    steps = (("24 h", {"Imatinib": "3 uM"}), ("1 h", {"Imatinib": 0}), ("1 h", {"IL7": "1 ng/ml"}))
    course = kin.simulate(kin.Model.load(IL7), kin.Experiment.steps(*steps), [0, 30], ["pSTAT5_total"])
    assert status == 0
    assert rows(out)[0] == ["time [min]", "pSTAT5_total [nM]"]
    assert_allclose(float(rows(out)[2][1]), course["pSTAT5_total"][1], rtol=1e-9)


def test_points_between_zero_and_end(run, decay_file):
    _, out, _ = run("simulate", decay_file, "--end", "20", "--points", "5", "--observe", "A")
    assert [float(row[0]) for row in rows(out)[1:]] == [0.0, 5.0, 10.0, 15.0, 20.0]


def test_check_reports_the_largest_difference(run, decay_file):
    words = ("simulate", decay_file, "--times", "0,10", "--observe", "A", "--check")
    status, out, err = run(*words)
    assert status == 0
    assert len(rows(out)) == 3
    assert "largest difference" in err
    check = json.loads(run(*words, "--json")[1])["check"]
    assert 0.0 <= check["largest_relative_difference"] < 1e-6
    assert check["tighter"]["rtol"] == pytest.approx(1e-10)


def test_dose_response_at_equilibrium_has_the_dissociation_constant_as_ec50(run, antagonist_file):
    """C = L / (L + K_d) with K_d = 2 nM: EC50 2 nM, Hill slope 1, top 1."""
    words = ("--target", "L", "--from", "1 pM", "--to", "1 uM", "--observe", "C", "--at", "inf")
    status, out, _ = run("dose-response", antagonist_file, *words, "--json")
    found = json.loads(out)["description"]
    assert status == 0
    assert json.loads(out)["dose_unit"] == "pM"
    assert_allclose([found["ec50"], found["hill"], found["top"]], [2000.0, 1.0, 1.0], rtol=1e-3)  # 24 points, no noise
    assert found["status"] == "inside"


def test_shift_by_a_competitive_antagonist_is_gaddums_dose_ratio(run, antagonist_file):
    """1 + B / K_b = 1 + 2 / 0.5 = 5."""
    words = ("--target", "L", "--from", "10 pM", "--to", "10 uM", "--observe", "C", "--at", "inf")
    status, out, _ = run("shift", antagonist_file, *words, "--treated-set", "B=2 nM", "--json")
    assert status == 0
    assert_allclose(json.loads(out)["shift"]["dose_ratio"], 5.0, rtol=1e-3)
    assert_allclose(json.loads(out)["shift"]["emax_ratio"], 1.0, rtol=1e-3)


def test_listed_doses_share_the_last_unit(run):
    _, out, _ = run("dose-response", IL7, "--doses", "0,0.1,1,10 ng/ml", "--quiet")
    assert rows(out)[0] == ["IL7 [ng/ml]", "pSTAT5_total [nM]"]
    assert [float(row[0]) for row in rows(out)[1:]] == [0.0, 0.1, 1.0, 10.0]
    assert float(rows(out)[1][1]) == 0.0  # no ligand, no signal


def test_percent_of_maximum_ends_at_100(run):
    _, out, _ = run("dose-response", IL7, "--percent-of-maximum", "--zero", "--json")
    found = json.loads(out)
    assert max(found["responses"]) == 100.0
    assert found["response_unit"] == "%"
    assert found["doses"][0] == 0.0


def test_protocol_of_the_catalogue_sets_steps_readout_and_doses(run):
    plain = json.loads(run("dose-response", IL7, "--json")[1])
    gonnord = json.loads(run("dose-response", IL7, "--protocol", "gonnord", "--json")[1])
    treated = json.loads(run("dose-response", IL7, "--protocol", "thiant_2017", "--json")[1])
    tcr = json.loads(run("dose-response", IL7, "--protocol", "TCR", "--json")[1])
    assert (plain["read_at"], gonnord["read_at"]) == ("30 min", "10 min")
    assert treated["description"]["ec50"] > 5.0 * plain["description"]["ec50"]  # claim B03 of the paper
    assert (tcr["target"], tcr["doses"][0], tcr["doses"][-1]) == ("TCR", 0.05, 5.0)


def test_shift_of_the_bundled_model_says_it_in_words_and_numbers(run):
    status, out, err = run("shift", IL7)
    assert (status, err) == (0, "")
    assert re.search(r"The EC50 moves [\d.]+-fold to the right", out)
    found = json.loads(run("shift", IL7, "--json")[1])
    assert found["shift"]["dose_ratio"] > 5.0
    assert found["protocol"] == "thiant_2017"
    same = ("--treated", "24 h:Imatinib=3 uM", "--treated", "1 h:Imatinib=0")
    spelled = json.loads(run("shift", IL7, *same, "--json")[1])
    assert spelled["treated"]["responses"] == found["treated"]["responses"]
    assert spelled["treated"]["arm"] == "Imatinib 3 uM"


def test_mechanisms_shift_what_they_should(run):
    half = json.loads(run("shift", IL7, "--mechanism", "STAT5_pool", "--json")[1])["shift"]
    assert_allclose(half["emax_ratio"], 0.5, rtol=0.05)  # half the STAT5, half the signal
    assert_allclose(half["dose_ratio"], 1.0, rtol=0.1)
    alone = run("shift", IL7, "--mechanism", "JAK_only")
    assert "same to the last bit" in alone[2]
    with_drug = json.loads(run("shift", IL7, "--mechanism", "JAK_only", "--with-drug", "--json")[1])
    assert 1.0 < with_drug["shift"]["dose_ratio"] < 1.1  # a control of the ledger: no shift beyond 5 to 10 %


def test_workers_do_not_change_a_bit(run):
    one, two = (run("dose-response", IL7, "--workers", n, "--json", "--per-decade", "2")[1] for n in ("1", "2"))
    assert json.loads(one)["responses"] == json.loads(two)["responses"]


def test_show_names_values_units_labels_and_sources(run):
    status, out, _ = run("show", IL7)
    assert status == 0
    for title in ("species", "parameters", "readouts", "variants", "mechanisms", "protocols"):
        assert re.search(rf"^{title}", out, re.MULTILINE), title
    found = json.loads(run("show", IL7, "--json")[1])
    by_id = {item["id"]: item for item in found["parameters"]}
    assert by_id["kon"]["value"] == kin.Model.load(IL7).entity("kon").value
    assert by_id["kon"]["unit"] == "1/nM/min"
    assert by_id["kon"]["label"] and by_id["kon"]["source"]


def test_show_of_a_variant_shows_its_values(run):
    found = json.loads(run("show", IL7, "--variant", "CD8", "--json")[1])
    values = kin.catalogue.find_model(IL7).variants["CD8"].values
    shown = {item["id"]: item["value"] for item in found["parameters"]}
    assert {name: shown[name] for name in values} == dict(values)


def test_validate_says_what_was_checked(run, decay_file):
    status, out, _ = run("validate", decay_file)
    assert status == 0
    assert "valid" in out and "checked" in out and "engine" in out
    found = json.loads(run("validate", decay_file, "--json")[1])
    assert found["valid"] and found["counts"]["species"] == 2 and found["file"] == "decay.ant"
    assert not found["units_agree"]  # the text declares none


def test_validate_in_json_gives_the_reason_and_status_2(run, tmp_path):
    path = tmp_path / "bad.xml"
    path.write_text("<html></html>")
    status, out, err = run("validate", str(path), "--json")
    found = json.loads(out)
    assert (status, found["valid"]) == (2, False)
    assert found["error"] and str(tmp_path) not in out
    assert err.count("\n") == 1


def test_a_model_can_come_from_standard_input(run, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(DECAY))
    status, out, _ = run("simulate", "-", "--times", "0,10", "--observe", "A", "--quiet")
    assert status == 0
    assert_allclose(float(rows(out)[2][1]), 10.0 * math.exp(-1.0), rtol=1e-6)


# --- files --------------------------------------------------------------------------------------------------


def test_csv_is_tidy_and_an_existing_file_is_kept(run, tmp_path):
    path = tmp_path / "curve.csv"
    assert run("dose-response", IL7, "--csv", str(path))[0] == 0
    table = list(csv.DictReader(path.read_text().splitlines()))
    assert {row["dose_unit"] for row in table} == {"ng/ml"}
    assert {row["response_unit"] for row in table} == {"nM"}
    path.write_text("mine")
    status, out, err = run("dose-response", IL7, "--csv", str(path))
    assert (status, out, path.read_text()) == (2, "", "mine")
    assert "--force" in err
    assert run("dose-response", IL7, "--csv", str(path), "--force")[0] == 0
    assert path.read_text() != "mine"
    assert sorted(item.name for item in tmp_path.iterdir()) == ["curve.csv"]  # nothing half-written is left


@pytest.mark.parametrize("command", ["simulate", "dose-response", "shift"])
@pytest.mark.parametrize(("ending", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_plots_are_written(run, tmp_path, command, ending, magic):
    path = tmp_path / f"figure.{ending}"
    assert run(command, IL7, "--plot", str(path), "--quiet")[0] == 0
    assert path.read_bytes().startswith(magic)


def test_csv_on_standard_output_is_nothing_else(run):
    _, out, _ = run("shift", IL7, "--csv", "-")
    table = list(csv.DictReader(out.splitlines()))
    assert {row["arm"] for row in table} == {"control", "Imatinib 3 uM"}


# --- bad input ----------------------------------------------------------------------------------------------

BAD = {
    "no command": (),
    "unknown command": ("simulat",),
    "unknown option": ("models", "--nope"),
    "no model": ("simulate",),
    "unknown model": ("simulate", "il7_stat5", "--times", "0,1"),
    "empty model": ("show", ""),
    "folder": ("show", "/"),
    "unknown parameter": ("simulate", IL7, "--param", "k_onn=1", "--times", "0,1"),
    "parameter of a rule": ("simulate", IL7, "--param", "pSTAT5_total=1", "--times", "0,1"),
    "parameter without value": ("simulate", IL7, "--param", "kon", "--times", "0,1"),
    "parameter twice": ("simulate", IL7, "--param", "kon=1", "--param", "kon=2", "--times", "0,1"),
    "not a number": ("simulate", IL7, "--param", "kon=fast", "--times", "0,1"),
    "wrong dimension": ("simulate", IL7, "--set", "IL7=3 h", "--times", "0,1"),
    "negative dose": ("simulate", IL7, "--set", "IL7=-1 nM", "--times", "0,1"),
    "unknown unit": ("simulate", IL7, "--set", "IL7=1 florin", "--times", "0,1"),
    "unknown species": ("simulate", IL7, "--set", "IL8=1 nM", "--times", "0,1"),
    "unknown observable": ("simulate", IL7, "--observe", "pSTAT6", "--times", "0,1"),
    "broken formula": ("simulate", IL7, "--observe", "pSTAT5_total +", "--times", "0,1"),
    "code as formula": ("simulate", IL7, "--observe", "__import__('os').getcwd()", "--times", "0,1"),
    "times backwards": ("simulate", IL7, "--times", "0,10,5"),
    "times empty": ("simulate", IL7, "--times", ""),
    "times not numbers": ("simulate", IL7, "--times", "0,later"),
    "times before the start": ("simulate", IL7, "--times=-5,0"),
    "times and end": ("simulate", IL7, "--times", "0,1", "--end", "5"),
    "end negative": ("simulate", IL7, "--end=-5 min"),
    "one point": ("simulate", IL7, "--points", "1"),
    "points not a number": ("simulate", IL7, "--points", "many"),
    "step without duration": ("simulate", IL7, "--step", ":Imatinib=3 uM"),
    "step without value": ("simulate", IL7, "--step", "24 h:Imatinib"),
    "step of no length": ("simulate", IL7, "--step", "0 h:Imatinib=3 uM"),
    "tolerance": ("simulate", IL7, "--rtol", "-1", "--times", "0,1"),
    "tolerance not a number": ("simulate", IL7, "--rtol", "small", "--times", "0,1"),
    "unknown variant": ("show", IL7, "--variant", "CD9"),
    "unknown protocol": ("dose-response", IL7, "--protocol", "thiant_2018"),
    "unknown target": ("dose-response", IL7, "--target", "IL8", "--from", "1 nM", "--to", "2 nM"),
    "target without doses": ("dose-response", IL7, "--target", "Imatinib"),
    "doses without unit": ("dose-response", IL7, "--doses", "1,2,3"),
    "doses backwards": ("dose-response", IL7, "--from", "10 nM", "--to", "1 nM"),
    "doses and range": ("dose-response", IL7, "--from", "10 nM", "--doses", "1 nM"),
    "per decade": ("dose-response", IL7, "--per-decade", "0"),
    "workers": ("dose-response", IL7, "--workers", "0"),
    "too many workers": ("dose-response", IL7, "--workers", "100000"),
    "figure format": ("dose-response", IL7, "--plot", "curve.bmp"),
    "figure folder": ("dose-response", IL7, "--plot", "no/such/folder/curve.png"),
    "csv and json": ("dose-response", IL7, "--csv", "-", "--json"),
    "molar mass": ("dose-response", IL7, "--molar-mass", "IL7=heavy"),
    "molar mass of nothing": ("dose-response", IL7, "--molar-mass", "IL8=1000"),
    "unknown mechanism": ("shift", IL7, "--mechanism", "magic"),
    "drug without mechanism": ("shift", IL7, "--with-drug"),
    "page in no folder": ("reproduce", "--output", "no/such/folder/page.html"),
}


@pytest.mark.parametrize("words", BAD.values(), ids=BAD.keys())
def test_bad_input_is_one_line_and_status_2(run, words):
    status, out, err = run(*words)
    assert status == 2
    assert out == ""
    assert err.startswith("kinetics: error: ")
    assert err.count("\n") == 1
    assert "fault of the program" not in err and "Traceback" not in err


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", b"\x89PNG\r\n\x1a\n\x00\x00", b"<html></html>", b"<sbml", b"\xff\xfe\x00", b"{}" * 100],
    ids=["empty", "text", "png", "html", "cut off", "bytes", "json"],
)
@pytest.mark.parametrize("ending", ["xml", "ant", "sbml", "dat"])
@pytest.mark.parametrize("command", ["validate", "show"])
def test_files_that_are_no_models(run, tmp_path, content, ending, command):
    path = tmp_path / f"model.{ending}"
    path.write_bytes(content)
    status, out, err = run(command, str(path))
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert "fault of the program" not in err


def test_a_near_miss_is_suggested(run):
    assert "did you mean 'il7_stat5_imatinib'?" in run("show", "il7_stat5_imatinb")[2]


def test_foreign_model_needs_to_be_told_what_to_do(run, decay_file):
    assert "--target" in run("dose-response", decay_file)[2]
    assert "--times" in run("simulate", decay_file, "--quiet")[2]
    assert "--treated" in run("shift", decay_file, "--target", "A", "--doses", "1,2,3,4")[2]
    assert "no protocol" in run("dose-response", decay_file, "--protocol", "thiant_2017")[2]


def test_names_from_a_file_cannot_command_the_terminal(run, tmp_path):
    """U+009B starts a terminal command and is allowed in XML."""
    sbml = (
        '<?xml version="1.0" encoding="UTF-8"?><sbml xmlns="http://www.sbml.org/sbml/level3/version1/core" level="3" '
        'version="1"><model id="m" name="evil&#x9b;2J"><listOfParameters><parameter id="p" name="a&#x9b;31m" value="1" '
        'constant="true"/></listOfParameters></model></sbml>'
    )
    path = tmp_path / "evil.xml"
    path.write_text(sbml)
    status, out, err = run("show", str(path))
    assert status == 0
    assert "\x9b" not in out + err
    assert "evil?2J" in out


# --- manners ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_help_holds_examples_that_parse(run, command):
    status, out, _ = run(command, "--help")
    assert status == 0
    assert "--json" in out
    example = out.split("example:\n")[1].replace("\\\n", " ")
    lines = [shlex.split(line) for line in example.strip().splitlines()]
    assert lines
    for words in lines:
        assert words[0] == "kinetics" and words[1] == command
        assert cli.parser().parse_args(words[1:]).command == command


def test_help_names_all_commands_and_what_the_status_means(run):
    status, out, _ = run("--help")
    assert status == 0
    assert all(command in out for command in COMMANDS)
    assert "exit status" in out
    assert run("--version")[1].startswith("cytokine-kinetics ")


@pytest.mark.parametrize(
    "words",
    [
        ("models",),
        ("show", IL7),
        ("validate", IL7),
        ("simulate", IL7, "--times", "0,inf"),
        ("dose-response", IL7, "--doses", "1,2 nM"),
        ("shift", IL7, "--from", "1 ug/ml", "--to", "10 ug/ml"),
    ],
    ids=lambda words: words[0],
)
def test_json_is_strict(run, words):
    """Also where a value is infinite, a curve has too few doses or an EC50 lies outside."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    status, out, _ = run(*words, "--json")
    assert status == 0
    json.loads(out, parse_constant=refuse)


def test_an_unexpected_error_is_one_line_with_what_to_report(run, monkeypatch):
    from fits.commands import catalogue

    def broken(_: object) -> int:
        raise RuntimeError("first\nsecond")

    monkeypatch.setattr(catalogue, "models", broken)
    status, out, err = run("models")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "RuntimeError" in err and "report" in err and "first second" in err
    status, _, err = run("models", "--debug")
    assert status == 2
    assert "Traceback" in err


def test_interrupt_is_one_line(run, monkeypatch):
    from fits.commands import catalogue

    def interrupted(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(catalogue, "models", interrupted)
    assert run("models") == (130, "", "kinetics: interrupted\n")


def test_a_reader_that_goes_away_is_no_error():
    """``kinetics simulate ... | head -1``: the output is longer than a pipe holds."""
    command = [sys.executable, "-c", START, "simulate", IL7, "--points", "20001", "--quiet"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline().startswith(b"time [min]")
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 141


def test_models_is_quick_and_imports_no_science():
    """Below 1 s; the best of three, because other programs run here as well."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", START, "models"], env=environment(), capture_output=True, check=False, timeout=60
        )
        times.append(time.perf_counter() - start)
        assert done.returncode == 0
    assert min(times) < 1.0
    heavy = "{'numpy', 'pandas', 'roadrunner', 'matplotlib', 'scipy', 'libsbml', 'pint'}"
    for words in (["models"], ["--help"], ["simulate", "--help"]):
        code = (
            f"import sys; from fits.cli import main; main({words}); print({heavy} & set(sys.modules), file=sys.stderr)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
        )
        assert done.stderr.strip() == "set()", words


def test_progress_stays_off_pipes(run):
    """Standard error is no terminal here, so even a long command says nothing there."""
    assert run("dose-response", IL7, "--json", "--per-decade", "20")[2] == ""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
@pytest.mark.parametrize("quiet", [False, True])
def test_progress_appears_on_a_terminal_after_two_seconds(quiet):
    import fcntl
    import pty
    import struct
    import termios

    code = (
        "import argparse, time; from fits.commands.common import heartbeat\n"
        f"with heartbeat('simulating', argparse.Namespace(quiet={quiet})): time.sleep(6)"
    )
    reader, writer = pty.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=writer, env=environment(), check=True, timeout=60
    )
    os.write(writer, b"end")
    said = ""
    while not said.endswith("end"):  # one read may return a part
        said += os.read(reader, 5000).decode()
    os.close(writer)
    os.close(reader)
    assert done.stdout == b""
    assert bool(re.search(r"simulating 00:0[2-9]", said)) is not quiet
    assert "\n" not in said


def test_reproduce_prints_writes_and_tells_by_its_status(run, tmp_path):
    page = tmp_path / "page.html"
    status, out, err = run("reproduce", "--json", "--no-calibration", "--draws", "20", "--output", str(page))
    claims = json.loads(out)
    failed = [item["id"] for item in claims if item["priority"] == "core" and item["status"] == "fails"]
    assert status == int(bool(failed))
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert "page.html" in err


def test_reproduce_keeps_files_that_are_no_such_page(run, tmp_path):
    path = tmp_path / "thesis.html"
    path.write_text("<p>mine</p>")
    status, out, err = run("reproduce", "--output", str(path))
    assert (status, out, path.read_text()) == (2, "", "<p>mine</p>")
    assert "--force" in err
