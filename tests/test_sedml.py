"""Archives for other tools: run by tellurium's SED-ML reader they give our numbers; what cannot be said is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from numpy.testing import assert_allclose

import kinetics as kin
from fits import cli
from kinetics.errors import InputError, UnknownName, UnsupportedModel
from kinetics.experiment import added
from kinetics.schedule import resolve
from kinetics.scheduled import with_schedule
from kinetics.sedml import dose_archive, simulation_archive

# In a process of its own: tellurium takes libSBML's classes over, and executes what the document says.
READER = """
import json, sys, warnings
warnings.simplefilter("ignore")
import libcombine, libsedml
import numpy as np
import tellurium
tellurium.setDefaultPlottingEngine("matplotlib")
from tellurium.sedml.tesedml import executeCombineArchive
found = {}
for path in sys.argv[2:]:
    archive = libcombine.CombineArchive()
    assert archive.initializeFromArchive(path), path
    names = sorted(str(archive.getEntry(i).getLocation()) for i in range(archive.getNumEntries()))
    text = archive.extractEntryToString(archive.getMasterFile().getLocation())
    document = libsedml.readSedMLFromString(text)
    faults = [document.getError(i).getMessage() for i in range(document.getNumErrors())]
    (run,) = executeCombineArchive(path, createOutputs=False).values()
    data = {key: np.ravel(np.asarray(value, float)).tolist() for key, value in run["dataGenerators"].items()}
    level = [document.getLevel(), document.getVersion()]
    found[path] = {"names": names, "faults": faults, "data": data, "level": level}
json.dump(found, open(sys.argv[1], "w"))
"""

TOY = """
model toy
  compartment cell = 2
  species $D in cell, R in cell, C in cell
  D = 0; R = 10; C = 0; total := R + C
  k_on = 0.5; k_off = 0.2; k_deg = 0.01; base = 3
  J1: D + R -> C; cell*(k_on*D*R - k_off*C)
  J2: C -> ; cell*k_deg*C
end
"""


def il7_steps() -> kin.Experiment:
    return kin.Experiment.steps(
        ("24 h", {"Imatinib": "3 uM"}), ("1 h", {"Imatinib": 0}), ("60 min", {"IL7": "1 ng/ml"})
    )


def toy_steps() -> kin.Experiment:
    """A bolus on top, a formula over the state, and a parameter that changes."""
    return kin.Experiment(
        [
            kin.Period(0.0, {"D": 2.0}),
            kin.Period(20.0, {"D": 0.0, "k_off": 1.5}),
            kin.Period(25.0, {"D": "0.1*total + base", "R": added(4.0)}),
        ]
    )


@pytest.fixture(scope="module")
def il7() -> kin.Model:
    return kin.Model.load("il7_stat5_imatinib")


@pytest.fixture(scope="module")
def toy() -> kin.Model:
    return kin.Model.load(TOY, trusted=True)


@pytest.fixture(scope="module")
def runs(il7, toy, tmp_path_factory):
    """Archives, and what tellurium makes of them: ``name -> (expected, read)``."""
    folder = tmp_path_factory.mktemp("archives")
    times = np.arange(5.0, 61.0, 10.0)
    names = ["pSTAT5_total", "pSTAT5_fraction", "BCL2_fold"]
    plain = kin.DoseProtocol("IL7", ["0 ng/ml", "0.1 ng/ml", "10 ng/ml"], kin.Readout.at(names[0], "30 min"))
    washed = plain.before(("24 h", {"Imatinib": "3 uM"}), ("1 h", {"Imatinib": 0}))
    made = {
        "course": simulation_archive(il7, il7_steps(), times, names),
        "variant": simulation_archive(il7.variant("CD8"), il7_steps(), times, names, parameters={"kp": 0.5}),
        "toy": simulation_archive(toy, toy_steps(), [1.0, 10.0, 21.0, 40.0], ["total", "C/(R + 1)", "D"]),
        "doses": dose_archive(il7, plain),
        "washed": dose_archive(il7, washed),
        "parameter": dose_archive(toy, kin.DoseProtocol("k_on", [0.1, 0.5, 2.0], kin.Readout.at("C", 7.0),
                                                        kin.Experiment(kin.Period(0.0, {"D": 1.0})))),
    }  # fmt: skip
    expected = {
        "course": kin.simulate(il7, il7_steps(), times, names),
        "variant": kin.simulate(il7.variant("CD8"), il7_steps(), times, names, parameters={"kp": 0.5}),
        "toy": kin.simulate(toy, toy_steps(), [1.0, 10.0, 21.0, 40.0], ["total", "C/(R + 1)", "D"]),
        "doses": kin.dose_response(il7, plain),
        "washed": kin.dose_response(il7, washed),
        "parameter": kin.dose_response(toy, kin.DoseProtocol("k_on", [0.1, 0.5, 2.0], kin.Readout.at("C", 7.0),
                                                             kin.Experiment(kin.Period(0.0, {"D": 1.0})))),
    }  # fmt: skip
    paths = {name: folder / f"{name}.omex" for name in made}
    for name, archive in made.items():
        archive.write(paths[name])
    script, out = folder / "reader.py", folder / "read.json"
    script.write_text(READER)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), str(out), *map(str, paths.values())],
        capture_output=True, text=True, timeout=240, cwd=folder, env={**os.environ, "MPLBACKEND": "agg"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    read = json.loads(out.read_text())
    return {name: (expected[name], read[str(paths[name])]) for name in made}


@pytest.mark.parametrize("name", ["course", "variant", "toy"])
def test_another_reader_gets_the_same_time_course(runs, name):
    """The same integrator class at the same tolerances of 1e-8, restarted at events rather than at periods."""
    expected, read = runs[name]
    times = np.array(read["data"]["time"])
    rows = [int(np.argmin(np.abs(times - time))) for time in expected.times]
    assert_allclose(times[rows], expected.times, atol=1e-9)
    for number in range(len(expected.observables)):
        found = np.array(read["data"][f"observable_{number + 1}"])[rows]
        assert_allclose(found, expected.values[:, number], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", ["doses", "washed", "parameter"])
def test_another_reader_gets_the_same_dose_response(runs, name):
    expected, read = runs[name]
    found = [read["data"][f"response_{number + 1}"][-1] for number in range(len(expected.doses))]
    assert_allclose(found, expected.responses, rtol=1e-6, atol=1e-9)  # dose 0 answers 0


def test_archives_are_valid_for_the_libraries_of_the_formats(runs):
    for _, read in runs.values():
        assert not read["faults"]
        assert read["level"] == [1, 4]
        assert {"./model.xml", "./simulation.sedml"} <= set(read["names"])


def test_a_model_that_carries_its_experiment_behaves_as_the_experiment(toy):
    """The events of the file against our periods, on our own engine."""
    carried = kin.Model.load(with_schedule(toy, resolve(toy, toy_steps())), trusted=True)
    times = [1.0, 10.0, 21.0, 30.0, 40.0]
    ours, theirs = (
        kin.simulate(toy, toy_steps(), times, ["total", "D"]),
        kin.simulate(carried, None, times, ["total", "D"]),
    )
    assert_allclose(theirs.values, ours.values, rtol=1e-6)


def test_copasi_agrees_on_the_model_of_an_archive(il7):
    """An independent simulator (LSODA, its own reading of SBML)."""
    basico = pytest.importorskip("basico", reason="COPASI's basico is not installed")
    archive = simulation_archive(il7, il7_steps(), [60.0], ["pSTAT5_total"])
    model = basico.load_model_from_string(archive.models["model.xml"])
    try:
        found = basico.run_time_course_with_output(
            output_selection=["Time", "Values[pSTAT5_total]"], start_time=0.0, duration=1560.0, intervals=26,
            r_tol=1e-9, a_tol=1e-12, max_steps=1_000_000, use_initial_values=True, model=model,
        )  # fmt: skip
    finally:
        basico.remove_datamodel(model)
    ours = kin.simulate(il7, il7_steps(), [60.0], ["pSTAT5_total"])["pSTAT5_total"][0]
    assert float(found["Values[pSTAT5_total]"].iloc[-1]) == pytest.approx(ours, rel=1e-6)


# --- what an archive is -----------------------------------------------------------------------------------------


def test_the_same_request_gives_the_same_bytes_and_files_are_kept(toy, tmp_path):
    one, two = (simulation_archive(toy, None, [0.0, 1.0, 2.5], ["C"]) for _ in range(2))
    assert one.to_bytes() == two.to_bytes()
    path = tmp_path / "a.omex"
    one.write(path)
    with pytest.raises(InputError, match="exists and is left as it is"):
        one.write(path)
    one.write(path, overwrite=True)
    with pytest.raises(InputError, match=r"written as \.omex"):
        one.write(tmp_path / "a.zip")
    with zipfile.ZipFile(path) as inside:
        assert inside.namelist() == ["manifest.xml", "simulation.sedml", "model.xml"]
        assert 'numberOfSteps="5"' in inside.read("simulation.sedml").decode()


def test_names_from_a_file_are_escaped(toy):
    archive = simulation_archive(toy, None, [0.0, 1.0], ["C < R"])
    assert "C &lt; R" in archive.sedml


def test_a_model_that_refers_to_the_time_keeps_its_own():
    ramp = kin.Model.load("model ramp\n  S = 0; S' = 0.1*time; k = 1\nend\n", trusted=True)
    steps = kin.Experiment.steps(("5", {"k": 2.0}), ("10", {"k": 3.0}))
    assert 'initialTime="-5.0"' in simulation_archive(ramp, steps, [1.0], ["S"]).sedml


@pytest.mark.parametrize(
    "experiment, times, message",
    [
        (kin.Experiment([kin.Period(-np.inf), kin.Period(0.0)]), [1.0], "pre-equilibration cannot be written"),
        (kin.Experiment(kin.Period(0.0, {"D": "2*R"})), [1.0], "sets 'D' by a formula"),
        (kin.Experiment([kin.Period(0.0), kin.Period(1.0, {"cell": 3.0})]), [2.0], "changes the compartment 'cell'"),
        (None, [np.inf], "needs finite times"),
        (None, [-1.0], "lies before the start"),
        (None, [0.0], "needs a time after the start"),
        (None, [1.0, 1.0 + np.pi * 1e-6, 7.0], "no grid of at most 100,000 steps"),
    ],
)
def test_what_a_document_cannot_say_is_refused_with_the_reason(toy, experiment, times, message):
    with pytest.raises(InputError, match=message):
        simulation_archive(toy, experiment, times, ["C"])


@pytest.mark.parametrize(
    "readout, message",
    [
        (kin.Readout.peak("C", 0.0, 5.0), "'peak'"),
        (kin.Readout.steady_state("C"), "'steady state'"),
        (kin.Readout.at("C", 5.0).fold_over({"D": 0.0}), "relative to another"),
        (kin.Readout.at("C", 5.0).percent_of_maximum(), "relative to another"),
        (kin.Readout.at("C", 5.0).fraction_positive(1.0, 0.5), "normal distribution"),
        (kin.Readout.at("C", 0.0), "not after the start"),
    ],
)
def test_readouts_that_cannot_be_said_are_refused(toy, readout, message):
    with pytest.raises(InputError, match=message):
        dose_archive(toy, kin.DoseProtocol("D", [0.0, 1.0], readout))


def test_models_with_events_of_their_own_take_no_later_periods():
    model = kin.Model.load("model e\n  S = 1; k = 0.1; J: S -> ; k*S\n  E: at time > 3: S = 5\nend\n", trusted=True)
    steps = kin.Experiment([kin.Period(0.0), kin.Period(2.0, {"k": 1.0})])
    with pytest.raises(UnsupportedModel, match="events of its own"):
        simulation_archive(model, steps, [4.0], ["S"])
    assert "kinetics_period" not in simulation_archive(model, None, [4.0], ["S"]).models["model.xml"]


def test_an_initial_assignment_that_would_follow_a_dose_is_refused():
    model = kin.Model.load("model i\n  S = 1; T := 0; T2 = 2*S; J: S -> ; S\nend\n", trusted=True)
    with pytest.raises(InputError, match="'T2' would follow it"):
        simulation_archive(model, kin.Experiment(kin.Period(0.0, {"S": 3.0})), [1.0], ["S"])


def test_unknown_observables_are_named(toy):
    with pytest.raises(UnknownName, match="no species, parameter or readout named 'CC'"):
        simulation_archive(toy, None, [1.0], ["CC"])


def test_the_commands_write_archives(tmp_path, capsys):
    one, two = tmp_path / "course.omex", tmp_path / "doses.omex"
    words = [
        "simulate",
        "il7_stat5_imatinib",
        "--set",
        "IL7=1 ng/ml",
        "--times",
        "0,10,30",
        "--observe",
        "pSTAT5_total",
    ]
    assert cli.main([*words, "--omex", str(one)]) == 0
    assert "3 even steps from 0 to 30 min" in capsys.readouterr().err
    assert cli.main(["dose-response", "il7_stat5_imatinib", "--doses", "0.1,1 ng/ml", "--omex", str(two)]) == 0
    assert zipfile.is_zipfile(one) and zipfile.is_zipfile(two)
    capsys.readouterr()
    assert cli.main([*words, "--omex", str(one)]) == 2
    assert "pass --force" in capsys.readouterr().err
    assert cli.main([*words, "--omex", str(tmp_path / "a.zip")]) == 2
    assert "--omex writes .omex" in capsys.readouterr().err
    assert cli.main([*words, "--equilibrate", "--omex", str(tmp_path / "b.omex")]) == 2
    assert "pre-equilibration cannot be written" in capsys.readouterr().err
