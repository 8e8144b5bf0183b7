"""Problems written as PEtab and read again: the same likelihood, and a list of what PEtab cannot say."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import yaml
from numpy.testing import assert_allclose
from petab_text import V1, V2, write_files

from fits.objective import compile_problem
from fits.parameters import Parameter, Scale
from fits.petab import read_petab, write_petab
from fits.priors import Prior
from fits.problem import Distribution, Measurement, Observable, Problem, replace_problem
from kinetics import Model
from kinetics.engine import Solver
from kinetics.errors import InputError
from kinetics.experiment import Experiment, Period, added

SUITE = Path(__file__).parents[2] / "shared" / "suites" / "petab"
CASES = sorted(path.parent for path in SUITE.glob("v*/*/_*_solution.yaml"))
TIGHT = Solver(1e-10, 1e-14)

# In the conventions of the bundled models: nM, minutes, pL.
UNITS = """
  unit volume = 1e-12 litre; unit substance = 1e-21 mole; unit time_unit = 60 second; unit extent = 1e-21 mole
  unit nM = 1e-21 mole / 1e-12 litre; unit per_min = 1 / (60 second)
"""
DOSED = f"""model dosed()
  {UNITS}
  compartment cell = 2; species Drug in cell, X in cell
  Drug has nM; X has nM; k has per_min
  loss: Drug -> X; cell * k * Drug
  Drug = 0; X = 1; k = 0.1
end"""


def nominal(problem):
    return {parameter.id: parameter.nominal for parameter in problem.parameters.parameters}


def nllh(problem):
    return compile_problem(problem, TIGHT).nllh(nominal(problem))


def round_trip(problem, folder, version=2):
    losses = write_petab(problem, folder, version)
    return read_petab(folder, trusted=True), losses


@pytest.fixture(scope="module")
def dosed():
    return Model.load(DOSED, trusted=True)


def rows(*measured):
    return [Measurement("x", experiment, time, value) for experiment, time, value in measured]


def problem_of(model, experiments, measured, parameters=(), **fields):
    chosen = parameters or [Parameter("k", 1e-3, 10.0, Scale.LOG10, 0.1)]
    return Problem("dosing", model, chosen, [Observable("x", "X", "0.5")], experiments, rows(*measured), **fields)


# --- round trips ---------------------------------------------------------------------------------------------


@pytest.mark.skipif(not CASES, reason="the PEtab test suite is not beside this checkout")
@pytest.mark.parametrize("case", CASES, ids=[f"{path.parts[-2]}-{path.name}" for path in CASES])
def test_suite_cases_survive_version_2(case, tmp_path):
    problem = read_petab(case / f"_{case.name}.yaml", trusted=True)
    again, losses = round_trip(problem, tmp_path)
    assert losses == []
    assert len(again.measurements) == len(problem.measurements)
    assert_allclose(nllh(again), nllh(problem), rtol=1e-12)
    one, other = (compile_problem(item, TIGHT).log_prior(nominal(item)) for item in (problem, again))
    assert_allclose(other, one, rtol=1e-12, atol=1e-12)


NOT_IN_V1 = {"v2.0.0/0016", "v2.0.0/0022", "v2.0.0/0026", "v2.0.0/0028", "v2.0.0/0029", "v2.0.0/0031"}


@pytest.mark.skipif(not CASES, reason="the PEtab test suite is not beside this checkout")
@pytest.mark.parametrize("case", CASES, ids=[f"{path.parts[-2]}-{path.name}" for path in CASES])
def test_suite_cases_survive_version_1_where_it_can_say_them(case, tmp_path):
    problem = read_petab(case / f"_{case.name}.yaml", trusted=True)
    if f"{case.parts[-2]}/{case.name}" in NOT_IN_V1:
        with pytest.raises(InputError, match=r"periods that start at|to the formula"):
            write_petab(problem, tmp_path, 1)
        return
    again, _ = round_trip(problem, tmp_path, 1)
    assert_allclose(nllh(again), nllh(problem), rtol=1e-12)


@pytest.mark.parametrize("files", [V1, V2], ids=["from v1", "from v2"])
@pytest.mark.parametrize("version", [1, 2])
def test_formulas_placeholders_and_noise_survive(files, version, tmp_path):
    problem = read_petab(write_files(tmp_path / "in", files), trusted=True)
    if files is V2 and version == 1:  # "2 * a_high" is more than an id
        again, losses = round_trip(problem, tmp_path / "out", version)
        assert any("experiment 'e2' sets 'A' to the formula 2 * a_high" in loss for loss in losses)
        assert len(again.measurements) == 2
        return
    again, losses = round_trip(problem, tmp_path / "out", version)
    assert_allclose(nllh(again), nllh(problem), rtol=1e-12)
    assert [p.scale for p in again.parameters.parameters] == [p.scale for p in problem.parameters.parameters]
    if files is V1 and version == 2:
        assert len(losses) == 1 and "density of its logarithm" in losses[0]
    else:
        assert losses == []


def test_log10_noise_becomes_natural_noise_of_the_same_density(tmp_path):
    """Version 2 has no log10 noise; sigma times ln(10) says the same, so the likelihood is the same to rounding."""
    problem = read_petab(write_files(tmp_path / "in", V1), trusted=True)
    again, _ = round_trip(problem, tmp_path / "out")
    assert problem.observables["obs_b"].distribution is Distribution.LOG10_LAPLACE
    assert again.observables["obs_b"].distribution is Distribution.LOG_LAPLACE
    assert_allclose(nllh(again), nllh(problem), rtol=1e-13)


# --- problems made in memory ---------------------------------------------------------------------------------


def test_units_doses_and_schedules_are_written_in_the_models_units(dosed, tmp_path):
    experiments = {
        "dose": Experiment.steps(("1 h", {"Drug": "3 uM"}), ("30 min", {"Drug": added("500 nM")}), zero_at_last=False),
        "twice a day": Experiment.repeated({"Drug": added("1 uM")}, every="12 h", times=3),
    }
    problem = problem_of(dosed, experiments, [("dose", 30.0, 2.0), ("dose", 90.0, 2.0), ("twice a day", 1500.0, 2.0)])
    again, losses = round_trip(problem, tmp_path)
    assert losses == []
    assert [period.start.value for period in again.experiments["dose"].periods] == [0.0, 60.0]
    assert again.experiments["dose"].periods[0].conditions[0].changes["Drug"] == pytest.approx(3000.0, rel=1e-14)
    assert set(again.experiments) == {"dose", "twice_a_day"}  # ids that PEtab can spell
    assert_allclose(nllh(again), nllh(problem), rtol=1e-12)


def test_the_values_of_a_variant_are_part_of_every_experiment(dosed, tmp_path):
    varied = dosed.with_values(X=5.0)
    problem = problem_of(varied, {"": Experiment(), "more": Experiment(Period(0.0, {"Drug": 4.0}))},
                         [("", 3.0, 2.0), ("more", 3.0, 2.0)])  # fmt: skip
    again, losses = round_trip(problem, tmp_path)
    assert losses == []
    assert_allclose(compile_problem(again).simulate({"k": 0.1}), compile_problem(problem).simulate({"k": 0.1}))
    assert compile_problem(again).simulate({"k": 0.1})[0] == pytest.approx(5.0)


def test_an_estimated_initial_value_gets_a_name_of_its_own(dosed, tmp_path):
    parameters = [Parameter("X", 0.1, 10.0, nominal=2.5), Parameter("k", 1e-3, 10.0, nominal=0.1)]
    problem = problem_of(dosed, {"e": Experiment(Period(0.0, {"Drug": 4.0}))}, [("e", 5.0, 2.0)], parameters)
    again, losses = round_trip(problem, tmp_path)
    assert losses == ["parameter 'X' is an initial value of the species; in the files it is called 'initial_X'"]
    assert again.parameters.names == ("initial_X", "k")
    assert_allclose(nllh(again), nllh(problem), rtol=1e-12)


def test_readouts_of_a_model_are_written_out(tmp_path):
    model = Model.load(DOSED, trusted=True, readouts={"both": "Drug + X"})
    problem = Problem(
        "readout", model, [Parameter("k", 1e-3, 10.0, nominal=0.1)], [Observable("y", "2 * both", "pi")],
        {"e": Experiment(Period(0.0, {"Drug": 4.0}))}, [Measurement("y", "e", 2.0, 9.0)],
    )  # fmt: skip
    again, losses = round_trip(problem, tmp_path)
    assert losses == []
    assert "both" not in again.observables["y"].formula and "pi" not in again.observables["y"].noise
    assert_allclose(nllh(again), nllh(problem), rtol=1e-12)


def test_dataset_and_replicate_names_survive(dosed, tmp_path):
    problem = problem_of(dosed, {"": Experiment()}, [("", 1.0, 1.0)])
    row = Measurement("x", "", 1.0, 1.0, dataset="donor 3", replicate="b")
    again, _ = round_trip(replace_problem(problem, measurements=(row, row)), tmp_path)
    assert again.measurements == (row, row)


def test_several_models_survive(dosed, tmp_path):
    other = Model.load(DOSED.replace("k = 0.1", "k = 0.3").replace("dosed", "other"), trusted=True)
    measured = [Measurement("x", "e", 3.0, 2.0, model=name) for name in ("one", "two")]
    problem = Problem(
        "pair", {"one": dosed, "two": other}, [Parameter("sd", 0.1, 1.0, nominal=0.5)],
        [Observable("x", "X", "sd")], {"e": Experiment(Period(0.0, {"Drug": 4.0}))}, measured,
    )  # fmt: skip
    for version in (1, 2):
        again, losses = round_trip(problem, tmp_path / str(version), version)
        assert losses == [] and len(again.models) == 2
        assert_allclose(nllh(again), nllh(problem), rtol=1e-12)


# --- what PEtab cannot say -----------------------------------------------------------------------------------


class Shift:
    """Stands for a term of another kind."""

    id = "EC50 shift"


def test_terms_and_censored_rows_are_listed(dosed, tmp_path):
    problem = problem_of(dosed, {"": Experiment()}, [("", 1.0, 1.0)], terms=[Shift()])
    censored = Measurement("x", "", 2.0, math.nan, upper=0.5)
    problem = replace_problem(problem, measurements=(*problem.measurements, censored))
    again, losses = round_trip(problem, tmp_path)
    assert losses[0] == "PEtab has no word for Shift 'EC50 shift'; it was left out"
    assert losses[1].startswith("1 censored or interval measurements were left out")
    assert len(again.measurements) == 1


def test_a_problem_without_exact_measurements_is_refused(dosed, tmp_path):
    censored = Measurement("x", "", 2.0, math.nan, upper=0.5)
    problem = replace_problem(problem_of(dosed, {"": Experiment()}, [("", 1.0, 1.0)]), measurements=(censored,))
    with pytest.raises(InputError, match="no measurements that PEtab can state"):
        write_petab(problem, tmp_path / "nothing")


@pytest.mark.parametrize(
    "prior, v1, v2",
    [
        (Prior("normal", (0.0, 1.0), lower=1e-3, upper=10.0), "is cut off", ""),
        (Prior("normal", (0.0, 1.0)), "", "cuts the prior of 'k' off at its bounds"),
        (Prior("normal", (0.0, 1.0), scale="log10"), "", "density of its logarithm"),
        (Prior("normal", (0.0, 1.0), scale="log"), "PEtab 1 has no normal for it", "density of its logarithm"),
        (Prior("gamma", (2.0, 1.0), scale="log"), "PEtab 1 has no gamma for it", "was left out"),
        (Prior("gamma", (2.0, 1.0), lower=1e-3, upper=10.0), "PEtab 1 has no gamma for it", ""),
    ],
)
def test_priors_that_a_version_lacks_are_listed(dosed, tmp_path, prior, v1, v2):
    parameters = [Parameter("k", 1e-3, 10.0, Scale.LOG10, 0.1, prior=prior)]
    problem = problem_of(dosed, {"": Experiment()}, [("", 1.0, 1.0)], parameters)
    for version, words in ((1, v1), (2, v2)):
        again, losses = round_trip(problem, tmp_path / str(version), version)
        if words:
            assert any(words in loss for loss in losses)
        else:
            assert losses == [] and again.parameters["k"].prior == prior


def test_a_prior_on_the_log_scale_becomes_the_same_distribution_in_version_2(dosed, tmp_path):
    """A normal density of log10(k) is that of a log-normal k: both draw the same values."""
    prior = Prior("normal", (-1.0, 0.2), scale="log10")
    parameters = [Parameter("k", 1e-9, 1e9, Scale.LOG10, 0.1, prior=prior)]
    problem = problem_of(dosed, {"": Experiment()}, [("", 1.0, 1.0)], parameters)
    again, _ = round_trip(problem, tmp_path)
    found = again.parameters["k"].prior
    for value in (0.05, 0.2):
        expected = prior.log_density(value) - math.log(value * math.log(10.0))
        assert_allclose(found.log_density(value), expected, rtol=1e-9)


def test_priors_are_left_out_where_version_2_would_need_one_it_cannot_have(dosed, tmp_path):
    parameters = [
        Parameter("k", 1e-3, 10.0, nominal=0.1, prior=Prior("normal", (0.0, 1.0), lower=1e-3, upper=10.0)),
        Parameter("free", -math.inf, math.inf, nominal=0.0),
    ]
    problem = problem_of(dosed, {"": Experiment()}, [("", 1.0, 1.0)], parameters)
    again, losses = round_trip(problem, tmp_path)
    assert any("priors were left out" in loss and "'free'" in loss for loss in losses)
    assert again.parameters["k"].prior is None and again.parameters["free"].upper == math.inf


def test_functions_that_petab_lacks_and_unused_experiments_are_listed(dosed, tmp_path):
    problem = Problem(
        "odd", dosed, [Parameter("k", 1e-3, 10.0, nominal=0.1)], [Observable("x", "floor(X)", "1")],
        {"": Experiment(), "idle": Experiment(Period(0.0, {"X": 2.0}))}, [Measurement("x", "", 1.0, 1.0)],
    )  # fmt: skip
    _, losses = round_trip(problem, tmp_path)
    assert any("floor()" in loss for loss in losses)
    assert any("without measurements were left out: 'idle'" in loss for loss in losses)


# --- files ---------------------------------------------------------------------------------------------------


def test_nothing_is_overwritten_without_being_told_to(dosed, tmp_path):
    problem = problem_of(dosed, {"": Experiment()}, [("", 1.0, 1.0)])
    write_petab(problem, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(InputError, match="overwrite=True"):
        write_petab(problem, tmp_path)
    write_petab(problem, tmp_path, overwrite=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_files_are_what_the_specification_names(dosed, tmp_path):
    problem = problem_of(dosed, {"e": Experiment(Period(0.0, {"Drug": 4.0}))}, [("e", 1.0, 1.0)])
    write_petab(problem, tmp_path)
    content = yaml.safe_load((tmp_path / "dosing.yaml").read_text())
    assert content["format_version"] == "2.0.0"
    assert content["model_files"] == {"dosed": {"location": "dosed.xml", "language": "sbml"}}
    header = (tmp_path / "parameters.tsv").read_text().splitlines()[0].split("\t")
    assert header[:5] == ["parameterId", "lowerBound", "upperBound", "nominalValue", "estimate"]
    assert (tmp_path / "parameters.tsv").read_text().splitlines()[1].split("\t")[4] == "true"
    conditions = (tmp_path / "conditions.tsv").read_text().splitlines()
    assert conditions == ["conditionId\ttargetId\ttargetValue", "e_1\tDrug\t4"]


def test_other_versions_are_refused(dosed, tmp_path):
    with pytest.raises(InputError, match="versions 1 and 2, got 3"):
        write_petab(problem_of(dosed, {"": Experiment()}, [("", 1.0, 1.0)]), tmp_path, 3)
