"""PEtab problems as they are read: what the tables say, by version, and the public test suite."""

from __future__ import annotations

import importlib.util
import math
import re
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from petab_text import CONVERSION, V1, V2, spoiled, write_files

from fits.objective import compile_problem
from fits.parameters import Scale
from fits.petab import read_petab
from fits.priors import LN10, Prior
from fits.problem import Distribution
from kinetics.engine import Solver
from kinetics.errors import InputError, KineticsError, MissingValue, UnknownName
from kinetics.expression import evaluate
from kinetics.formula import parse

ROOT = Path(__file__).parents[1]
SUITE = ROOT.parent / "shared" / "suites" / "petab"
SOLUTIONS = sorted(SUITE.glob("v*/*/_*_solution.yaml"))
TIGHT = Solver(1e-10, 1e-14)


def _suite():
    spec = importlib.util.spec_from_file_location("petab_suite", ROOT / "benchmarks" / "petab_suite.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def a_of(t, a0, b0, k1, k2):
    """A of ``A <-> B``, mass action, in closed form."""
    end = k2 * (a0 + b0) / (k1 + k2)
    return end + (a0 - end) * np.exp(-(k1 + k2) * t)


def simulated(problem, **values):
    nominal = {parameter.id: parameter.nominal for parameter in problem.parameters.parameters}
    return compile_problem(problem, TIGHT).simulate({**nominal, **values})


# --- the public suite ----------------------------------------------------------------------------------------


@pytest.mark.skipif(not SOLUTIONS, reason="the PEtab test suite is not beside this checkout")
@pytest.mark.parametrize("solution", SOLUTIONS, ids=[f"{p.parts[-3]}-{p.parts[-2]}" for p in SOLUTIONS])
def test_suite_case(solution):
    assert _suite().run_case(str(solution.parent)) == ("passed", "")


@pytest.mark.skipif(not (SUITE / "v2.0.0" / "math").is_dir(), reason="the PEtab test suite is not beside this checkout")
def test_suite_expressions():
    assert _suite().run_math(SUITE / "v2.0.0" / "math" / "math_tests.yaml") == (98, [])


def test_the_suite_runner_notices_a_wrong_number(tmp_path):
    path = write_files(tmp_path / "0901", {**V2, "_simulations.tsv": ""})
    problem = read_petab(path, trusted=True)
    values = simulated(problem)
    rows = "".join(
        f"{row.observable}|{row.time}|{float(value)!r}\n"
        for row, value in zip(problem.measurements, values, strict=True)
    )
    nominal = {parameter.id: parameter.nominal for parameter in problem.parameters.parameters}
    objective = compile_problem(problem, TIGHT)
    solution = f"llh: {-objective.nllh(nominal)!r}\nchi2: {objective.chi2(nominal)!r}\n"
    solution += "".join(f"tol_{what}: 0.001\n" for what in ("llh", "chi2", "simulations"))
    solution += "simulation_files: [_simulations.tsv]\n"
    files = {
        "_simulations.tsv": "observableId|time|simulation\n" + rows,
        "_0901_solution.yaml": solution,
        "_0901.yaml": V2["problem.yaml"],
    }
    write_files(tmp_path / "0901", files)
    suite = _suite()
    assert list(suite.find_cases(tmp_path)) == ["0901"]
    assert suite.run_case(str(tmp_path / "0901")) == ("passed", "")
    first = f"{float(values[0])!r}"
    write_files(tmp_path / "0901", spoiled(files, "_simulations.tsv", f"|{first}\n", "|0.77\n"))
    kind, why = suite.run_case(str(tmp_path / "0901"))
    assert kind == "wrong" and "obs_a at 0" in why and "expected 0.77" in why
    write_files(tmp_path / "0901", spoiled(files, "_0901_solution.yaml", "chi2: ", "chi2: 1"))
    assert suite.run_case(str(tmp_path / "0901"))[0] == "wrong"
    write_files(tmp_path / "0901", spoiled(files, "_0901.yaml", "sbml", "bngl"))
    assert suite.run_case(str(tmp_path / "0901"))[0] == "refused"


# --- version 2 -----------------------------------------------------------------------------------------------


@pytest.fixture
def v2(tmp_path):
    return read_petab(write_files(tmp_path, V2), trusted=True)


def test_v2_parameters(v2):
    assert [p.id for p in v2.parameters.parameters] == ["k1", "s", "sd", "a_high"]
    k1, s, _, a_high = v2.parameters.parameters
    assert (k1.lower, k1.upper, k1.nominal, k1.estimate) == (0.001, 100.0, 0.8, True)
    assert not a_high.estimate and a_high.nominal == 1.5
    assert v2.parameters.names == ("k1", "s", "sd")
    assert all(p.prior is None for p in v2.parameters.parameters)
    # version 2 has no scale: far-apart positive bounds are searched in decades, and the problem says so
    assert k1.scale is Scale.LOG10 and s.scale is Scale.LIN
    assert any("log10" in note and "k1" in note for note in v2.notes)


def test_v2_observables_write_out_their_own_id_and_keep_placeholders(v2):
    a, b = v2.observables["obs_a"], v2.observables["obs_b"]
    assert (a.formula, a.observable_placeholders, a.noise_placeholders) == (
        "scale * A + offset",
        ("scale",),
        ("sigma",),
    )
    assert b.noise == "0.1 + 0.2 * (B)"
    assert b.distribution is Distribution.LOG_NORMAL


def test_v2_measurements_keep_their_order_and_overrides(v2):
    rows = v2.measurements
    assert [(r.observable, r.experiment, r.time, r.value) for r in rows][1:3] == [
        ("obs_a", "e1", 10.0, 0.4),
        ("obs_a", "e2", 5.0, 0.7),
    ]
    assert rows[0].observable_overrides == (1.0,) and rows[2].observable_overrides == ("s",)
    assert rows[2].noise_overrides == ("sd",)
    assert rows[4].time == math.inf


def test_v2_simulations_are_those_of_the_closed_form(v2):
    """e1: A starts at 0.5, B at b0 = 0.  e2: from the steady state of that, A := 2 * 1.5, offset := 1."""
    k1, k2 = 0.8, 0.6
    a_end = a_of(np.inf, 0.5, 0.0, k1, k2)
    b_end = 0.5 - a_end
    a_5 = a_of(5.0, 3.0, b_end, k1, k2)
    b_5 = 3.0 + b_end - a_5
    b_inf = 3.0 + b_end - a_of(np.inf, 3.0, b_end, k1, k2)
    expected = [0.5, 2.0 * a_of(10.0, 0.5, 0.0, k1, k2), 2.0 * a_5 + 1.0, b_5, b_inf]
    assert_allclose(simulated(v2), expected, rtol=1e-7)  # steady states are reached to 100 times the solver's 1e-10


def test_v2_an_experiment_left_out_is_the_model_as_it_is(tmp_path):
    files = spoiled(V2, "measurements.tsv", "obs_b|e2|5", "obs_b||5")
    problem = read_petab(write_files(tmp_path, files), trusted=True)
    assert_allclose(simulated(problem)[3], 1.0 - a_of(5.0, 1.0, 0.0, 0.8, 0.6), rtol=1e-7)


def test_v2_priors_are_cut_off_at_the_bounds_and_uniform_where_none_is_stated(tmp_path):
    rows = V2["parameters.tsv"].splitlines()
    rows = [
        f"{rows[0]}|priorDistribution|priorParameters",
        f"{rows[1]}|log-normal|0.5;2",
        *(f"{r}||" for r in rows[2:]),
    ]
    files = {**V2, "parameters.tsv": "\n".join(rows) + "\n"}
    parameters = read_petab(write_files(tmp_path, files), trusted=True).parameters
    assert parameters["k1"].prior == Prior("log-normal", (0.5, 2.0), lower=0.001, upper=100.0)
    assert parameters["s"].prior == Prior("uniform", (0.0, 10.0))
    assert parameters["a_high"].prior is None


def test_v2_tables_may_come_in_pieces_with_columns_of_their_own(tmp_path):
    lines = V2["measurements.tsv"].splitlines(keepends=True)
    files = {
        **V2,
        "first.tsv": "".join(lines[:3]),
        "second.tsv": "".join(line.replace("\n", "|by me\n") for line in (lines[0], *lines[3:])),
        "parameters.tsv": V2["parameters.tsv"].replace("\n", "\r\n"),
        "problem.yaml": V2["problem.yaml"].replace("[measurements.tsv]", "[first.tsv, second.tsv]"),
    }
    files["second.tsv"] = files["second.tsv"].replace("noiseParameters|by me", "noiseParameters|comment")
    problem = read_petab(write_files(tmp_path, files), trusted=True)
    assert problem.measurements == read_petab(write_files(tmp_path / "whole", V2), trusted=True).measurements


def test_v2_equal_rows_are_replicates_and_both_count(tmp_path, v2):
    files = {**V2, "measurements.tsv": V2["measurements.tsv"] + "obs_a|e1|10|0.4|s|0.1\n"}
    problem = read_petab(write_files(tmp_path, files), trusted=True)
    assert problem.measurements == (*v2.measurements, v2.measurements[1])


def test_v2_a_start_time_is_not_zero(tmp_path):
    files = spoiled(V2, "experiments.tsv", "e1|0|low", "e1|3|low")
    files = spoiled(files, "measurements.tsv", "obs_a|e1|0|", "obs_a|e1|3|")
    values = simulated(read_petab(write_files(tmp_path, files), trusted=True))
    assert_allclose(values[:2], [0.5, 2.0 * a_of(7.0, 0.5, 0.0, 0.8, 0.6)], rtol=1e-7)


def test_v2_several_models_share_parameters(tmp_path):
    slow = CONVERSION.replace("conversion", "slow").replace("k2 = 0.6", "k2 = 0.1")
    from kinetics.antimony import to_sbml

    files = {
        **V2,
        "slow.xml": to_sbml(slow),
        "problem.yaml": V2["problem.yaml"].replace(
            "model.xml}\n", "model.xml}\n  slow: {language: sbml, location: slow.xml}\n"
        ),
        "measurements.tsv": "observableId|experimentId|time|measurement|observableParameters|noiseParameters|modelId\n"
        "obs_a|e1|10|0.4|1|0.1|slow\nobs_a|e1|10|0.4|1|0.1|conversion\n",
    }
    values = simulated(read_petab(write_files(tmp_path, files), trusted=True))
    expected = [a_of(10.0, 0.5, 0.0, 0.8, 0.1), a_of(10.0, 0.5, 0.0, 0.8, 0.6)]
    assert_allclose(values, expected, rtol=1e-7)
    unclear = spoiled(files, "measurements.tsv", "|slow\n", "|\n")
    with pytest.raises(
        InputError, match=r"line 2, column 'modelId': expected one of the 2 models \(conversion, slow\)"
    ):
        read_petab(write_files(tmp_path, unclear), trusted=True)


def test_v2_local_parameters_by_mapping(tmp_path):
    """A parameter inside a kinetic law is reached through the mapping table, under a name PEtab can spell."""
    from kinetics.antimony import to_sbml

    files = {
        **V2,
        "mapping.tsv": "petabEntityId|modelEntityId|name\nk_forth|forth.rate|\nlow||an annotation\n",
        "problem.yaml": V2["problem.yaml"] + "mapping_files: [mapping.tsv]\n",
        "parameters.tsv": V2["parameters.tsv"].replace("k1|", "k_forth|"),
    }
    path = write_files(tmp_path, files)
    sbml = to_sbml(CONVERSION)
    law = sbml.index("<kineticLaw")
    end = sbml.index("</kineticLaw>", law)
    inside = sbml[law:end].replace("<ci> k1 </ci>", "<ci> rate </ci>")
    local = '<listOfLocalParameters><localParameter id="rate" value="9"/></listOfLocalParameters>'
    (tmp_path / "model.xml").write_text(sbml[:law] + inside + local + sbml[end:])
    problem = read_petab(path, trusted=True)
    assert_allclose(simulated(problem)[1], 2.0 * a_of(10.0, 0.5, 0.0, 0.8, 0.6), rtol=1e-7)
    assert_allclose(simulated(problem, k_forth=0.3)[1], 2.0 * a_of(10.0, 0.5, 0.0, 0.3, 0.6), rtol=1e-7)
    with pytest.raises(UnknownName, match=r"no model entity named 'forth.rat'"):
        read_petab(write_files(tmp_path, spoiled(files, "mapping.tsv", "forth.rate", "forth.rat")), trusted=True)


def test_v2_a_folder_with_one_problem_will_do(tmp_path):
    write_files(tmp_path, {**V2, "solution.yaml": "llh: 1\n"})
    assert read_petab(tmp_path, trusted=True).id == "problem"


def test_a_model_is_tried_in_a_child_process_unless_it_is_trusted(tmp_path):
    assert read_petab(write_files(tmp_path, V2)).models["conversion"].species == ("A", "B")


# --- version 1 -----------------------------------------------------------------------------------------------


@pytest.fixture
def v1(tmp_path):
    return read_petab(write_files(tmp_path, V1), trusted=True)


def test_v1_parameters_scales_and_priors(v1):
    k1, s, sd, a_high = v1.parameters.parameters
    assert [p.scale for p in (k1, s, sd, a_high)] == [Scale.LOG10, Scale.LIN, Scale.LOG, Scale.LIN]
    assert k1.prior == Prior("normal", (0.0, 0.5), scale="log10")
    assert s.prior is None and not a_high.estimate


@pytest.mark.parametrize(
    "words, expected",
    [
        ("normal|1;0.5", Prior("normal", (1.0, 0.5))),
        ("laplace|1;0.5", Prior("laplace", (1.0, 0.5))),
        ("logNormal|1;0.5", Prior("log-normal", (1.0, 0.5))),
        ("logLaplace|1;0.5", Prior("log-laplace", (1.0, 0.5))),
        ("uniform|1;2", Prior("uniform", (1.0, 2.0))),
        ("parameterScaleLaplace|1;0.5", Prior("laplace", (1.0, 0.5), scale="log10")),
        ("parameterScaleUniform|-1;1", Prior("uniform", (-1.0, 1.0), scale="log10")),
        ("parameterScaleUniform|-3;2", None),  # the bounds: no prior at all
        ("parameterScaleUniform|", None),
        ("uniform|0.001;100", None),
        ("|", None),
    ],
)
@pytest.mark.parametrize("kind", ["objectivePrior", "initializationPrior"])
def test_v1_prior_types(tmp_path, words, expected, kind):
    files = spoiled(V1, "parameters.tsv", "parameterScaleNormal|0;0.5", words)
    files = spoiled(files, "parameters.tsv", "objectivePrior", kind)
    k1 = read_petab(write_files(tmp_path, files), trusted=True).parameters["k1"]
    assert (k1.prior if kind == "objectivePrior" else k1.start) == expected
    assert (k1.start if kind == "objectivePrior" else k1.prior) is None


def test_v1_distributions_and_placeholders(v1):
    a, b = v1.observables["obs_a"], v1.observables["obs_b"]
    assert a.observable_placeholders == ("observableParameter1_obs_a",)
    assert a.noise_placeholders == ("noiseParameter1_obs_a",)
    assert b.distribution is Distribution.LOG10_LAPLACE and b.noise == "0.1 + 0.2 * (B)"


def test_v1_simulations_are_those_of_the_closed_form(v1):
    """Empty cells keep the state of the pre-equilibration and take constants back to the model's value."""
    k1, before = 0.8, 0.3
    a_end = a_of(np.inf, 0.5, 0.0, k1, before)
    b_end = 0.5 - a_end
    drug = a_of(5.0, 1.5, b_end, k1, 0.6)  # A := a_high, offset and k2 as in the model: 0 and 0.6
    keep = 0.5 - a_of(5.0, a_end, b_end, k1, 0.9)  # A and B as they are, k2 = 0.9
    end = 0.5 - a_of(np.inf, a_end, b_end, k1, 0.9)
    assert_allclose(simulated(v1), [1.5, 2.0 * drug, keep, end], rtol=1e-7)


def test_v1_log10_noise_has_its_jacobian(v1):
    """ln p(m) of a log10-Laplace measurement m: -ln(2 sigma m ln 10) - |log10 m - log10 y| / sigma."""
    y = simulated(v1)
    sigma = [0.1, 0.5, 0.1 + 0.2 * y[2], 0.1 + 0.2 * y[3]]
    m = [0.5, 0.7, 0.3, 0.3]
    normal = sum(0.5 * ((m[i] - y[i]) / sigma[i]) ** 2 + math.log(sigma[i] * math.sqrt(2 * math.pi)) for i in (0, 1))
    laplace = sum(
        math.log(2.0 * sigma[i] * m[i] * LN10) + abs(math.log10(m[i]) - math.log10(y[i])) / sigma[i] for i in (2, 3)
    )
    nominal = {parameter.id: parameter.nominal for parameter in v1.parameters.parameters}
    assert_allclose(compile_problem(v1, TIGHT).nllh(nominal), normal + laplace, rtol=1e-8)


def test_v1_a_column_that_only_observables_know_belongs_to_the_measurement(tmp_path):
    """Output parameters may be set per condition although the model lacks them."""
    files = spoiled(V1, "conditions.tsv", "|offset|", "|shift|")
    files = spoiled(files, "observables.tsv", "+ offset", "+ shift")
    files = spoiled(files, "conditions.tsv", "a_high||", "a_high|s|")
    problem = read_petab(write_files(tmp_path, files), trusted=True)
    assert problem.observables["obs_a"].observable_placeholders == ("observableParameter1_obs_a", "shift")
    assert [row.observable_overrides for row in problem.measurements[:2]] == [(1.0, 1.0), ("s", "s")]
    empty = spoiled(files, "conditions.tsv", "a_high|s|", "a_high||")
    with pytest.raises(InputError, match="line 3, column 'shift': expected a value"):
        read_petab(write_files(tmp_path, empty), trusted=True)


def test_v1_an_id_that_is_a_column_itself_stands_for_what_the_condition_sets_there(tmp_path):
    files = spoiled(V1, "conditions.tsv", "|k2\n", "|k2|a0\n")
    rows = files["conditions.tsv"].splitlines()
    rows = [rows[0], "rest||a0|1|0.3|0.25", "drug||a_high|||", "keep||NaN|1|0.9|"]
    files["conditions.tsv"] = "\n".join(rows) + "\n"
    assert_allclose(simulated(read_petab(write_files(tmp_path, files), trusted=True))[0], 1.25, rtol=1e-9)
    files["conditions.tsv"] = "\n".join([rows[0], "rest||a0|1|0.3|A", *rows[2:]]) + "\n"
    with pytest.raises(InputError, match=r"line 2.*circle"):
        read_petab(write_files(tmp_path, files), trusted=True)


def test_v1_several_problems_in_one(tmp_path):
    """Each has its own model, conditions and observables; what has the same name but differs gets a name of its own."""
    second = {
        f"second_{name}": text.replace("|normal|lin", "|normal|log") if "observables" in name else text
        for name, text in V1.items()
        if name not in ("problem.yaml", "parameters.tsv")
    }
    entry = V1["problem.yaml"].partition("problems:\n")[2]
    other = entry
    for name in ("conditions", "observables", "measurements"):
        other = other.replace(f"{name}.tsv", f"second_{name}.tsv")
    path = write_files(tmp_path, {**V1, **second, "problem.yaml": V1["problem.yaml"] + other})
    problem = read_petab(path, trusted=True)
    assert len(problem.models) == 2 and len(problem.measurements) == 8
    assert problem.measurements[0].model != problem.measurements[4].model
    assert problem.measurements[4].observable == "obs_a__2"
    assert problem.observables["obs_a__2"].distribution is Distribution.LOG_NORMAL
    assert problem.measurements[6].observable == "obs_b"
    assert problem.measurements[4].experiment == problem.measurements[0].experiment
    assert_allclose(simulated(problem)[4:], simulated(problem)[:4], rtol=1e-12)


def test_v1_ids_of_conditions_may_be_numbers(tmp_path):
    files = {name: text.replace("rest|", "1|").replace("drug|", "2|") for name, text in V1.items()}
    problem = read_petab(write_files(tmp_path, files), trusted=True)
    assert [row.experiment for row in problem.measurements[:2]] == ["1", "1__2"]


def test_the_steady_state_of_an_equilibration_can_be_refused(tmp_path):
    """A model that grows without end has none: an error of our own, not a number."""
    growing = CONVERSION.replace("\nend", "\n  source: -> A; cell * 1\nend")
    with pytest.raises(KineticsError, match="no steady state"):
        simulated(read_petab(write_files(tmp_path, V1, growing), trusted=True))


def test_formulas_cannot_hang():
    assert float(evaluate(parse("9^9^9^9"), {})) == math.inf


# --- semantics that the public cases leave out ---------------------------------------------------------------


def small_problem(tmp_path, model, **tables):
    """A version 2 problem with a fixed parameter and sigma 1; tables without their headers."""
    heads = {
        "conditions": "conditionId|targetId|targetValue",
        "experiments": "experimentId|time|conditionId",
        "observables": "observableId|observableFormula|noiseFormula",
        "measurements": "observableId|experimentId|time|measurement",
        "parameters": "parameterId|lowerBound|upperBound|nominalValue|estimate",
    }
    tables = {"parameters": "unused|||1|false\n", **tables}
    files = {f"{name}.tsv": f"{head}\n{tables[name]}" for name, head in heads.items()}
    return read_petab(write_files(tmp_path, {"problem.yaml": V2["problem.yaml"], **files}, model), trusted=True)


RATE_RULES = """model rates()
  compartment cell = 2; species A in cell, $Fixed in cell
  a0 = 3; k = 0.5; b = 1
  A = a0; Fixed = 7
  A' = -k * A
  b' = k * A
end"""


@pytest.mark.parametrize("model", [CONVERSION, RATE_RULES], ids=["reactions", "rate rules"])
@pytest.mark.parametrize("start", [0, 2])
def test_concentrations_keep_their_value_when_a_condition_sets_the_volume(tmp_path, model, start):
    """PEtab 2: a new compartment size changes amounts and no concentration, assigned initially or not."""
    problem = small_problem(
        tmp_path,
        model,
        conditions="wide|cell|8\n",
        experiments="e|0|\ne|2|wide\n" if start else "e|0|wide\n",
        observables="conc|A|1\namount|A * cell|1\n",
        measurements="conc|e|2|1\namount|e|2|1\nconc|e|3|1\namount|e|3|1\n",
    )
    values = simulated(problem)
    if model == CONVERSION:
        expected = a_of(np.array([2.0, 3.0]), 1.0, 0.0, 0.8, 0.6)
    else:
        expected = 3.0 * np.exp(-0.5 * np.array([2.0, 3.0]))
    assert_allclose(values[[0, 2]], expected, rtol=1e-7)
    assert_allclose(values[[1, 3]], 8.0 * expected, rtol=1e-7)


def test_equilibration_keeps_states_under_rate_rules(tmp_path):
    """A decays to nothing before time 5, b has taken up all of it; then A starts again."""
    problem = small_problem(
        tmp_path,
        RATE_RULES,
        conditions="first|b|2\nsecond|A|4\n",
        experiments="e|-inf|first\ne|5|second\n",
        observables="a|A|1\nb_|b|1\n",
        measurements="a|e|5|1\nb_|e|5|1\na|e|7|1\nb_|e|7|1\n",
    )
    left = 4.0 * math.exp(-1.0)
    assert_allclose(simulated(problem), [4.0, 5.0, left, 9.0 - left], rtol=1e-7)


def test_an_event_at_the_time_of_a_condition_comes_after_it(tmp_path):
    """S = 2 + t.  At 10: first S := S + C = 16 and C := 8, then the event doubles C and so halves S to 8."""
    problem = small_problem(
        tmp_path,
        """model swelling()
          compartment C = 4; species S in C; p = 1
          S = 2
          S' = p
          E: at time >= 10, fromTrigger=false: C = C * 2
        end""",
        conditions="later|S|S + C\nlater|C|8\n",
        experiments="e|0|\ne|10|later\n",
        observables="size|C|1\nconc|S|1\n",
        measurements="size|e|5|1\nconc|e|5|1\nsize|e|10|1\nconc|e|10|1\nsize|e|15|1\nconc|e|15|1\n",
    )
    assert_allclose(simulated(problem), [4.0, 7.0, 16.0, 8.0, 16.0, 13.0], rtol=1e-9)


def test_a_value_that_the_model_lacks_may_come_from_the_parameter_table(tmp_path):
    path = write_files(tmp_path, V2)
    sbml = (tmp_path / "model.xml").read_text()
    for name in ("k1", "k2"):
        without = re.sub(rf'(<parameter id="{name}") value="[^"]*"', r"\1", sbml)
        assert without != sbml
        (tmp_path / "model.xml").write_text(without)
        problem = read_petab(path, trusted=True)
        if name == "k1":
            assert_allclose(simulated(problem)[1], 2.0 * a_of(10.0, 0.5, 0.0, 0.8, 0.6), rtol=1e-7)
        else:  # nobody states k2
            with pytest.raises(MissingValue, match="no value for 'k2'"):
                compile_problem(problem)
