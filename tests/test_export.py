"""The calibrated model in other tools: what plain tellurium makes of it is what `simulate` makes of it here."""

from __future__ import annotations

import numpy as np
import pytest
from fitted_text import MODEL
from numpy.testing import assert_allclose

from fits.export import calibrated_model, with_values
from fits.parameters import Parameter
from fits.problem import Measurement, Observable, Problem
from kinetics.antimony import to_sbml
from kinetics.errors import InputError, UnknownName
from kinetics.experiment import Experiment, Period
from kinetics.model import Model
from kinetics.sbml_library import libsbml_module
from kinetics.simulation import simulate

TIMES = np.linspace(0.0, 5.0, 11)
tellurium = pytest.importorskip("tellurium")


def problem(model: Model, parameters: list[Parameter], experiment: Experiment | None = None) -> Problem:
    return Problem("calibration", model, parameters, [Observable("o", model.species[0], "1")],
                   {"e": experiment or Experiment()}, [Measurement("o", "e", 1.0, 1.0)])  # fmt: skip


def elsewhere(runner, names: list[str]) -> np.ndarray:
    runner.integrator.relative_tolerance, runner.integrator.absolute_tolerance = 1e-10, 1e-14
    return np.asarray(runner.simulate(0.0, 5.0, 11, [f"[{name}]" for name in names]))


def agrees(model: Model, values: dict[str, float]) -> None:
    parameters = [Parameter(name, 0.0, 100.0, nominal=value) for name, value in values.items()]
    made = calibrated_model(problem(model, parameters), values)
    names = list(model.species)
    here = simulate(model, None, TIMES, names, parameters=values).values
    # both at tolerances far below 1e-6
    assert_allclose(elsewhere(tellurium.loadSBMLModel(made.sbml), names), here, rtol=1e-6, atol=1e-9)
    assert_allclose(elsewhere(tellurium.loada(made.antimony), names), here, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    "values",
    [
        {"k1": 0.8123456789012345, "k2": 0.05},
        {"a0": 7.0, "b0": 2.0},  # through initial assignments
        {"A": 5.0, "k1": 1.5},  # instead of an initial assignment
        {"cell": 3.0, "k1": 0.3},  # concentrations stay what they are
    ],
)
def test_tellurium_gives_the_same_numbers(values):
    agrees(Model.load(MODEL, trusted=True), values)


def test_amounts_and_constant_species():
    text = """model mixed()
      compartment cell = 4; substanceOnly species S in cell; species $F in cell, P in cell
      S = 8; F = 2; P = 0; k = 0.2
      go: S + F -> P; k * S * F
    end"""
    model = Model.load(text, trusted=True)
    values = {"S": 6.0, "F": 1.5, "k": 0.1}
    made = calibrated_model(problem(model, [Parameter(n, 0.0, 9.0, nominal=v) for n, v in values.items()]), values)
    runner = tellurium.loadSBMLModel(made.sbml)
    assert (runner["S"], runner["[F]"], runner["k"]) == (6.0, 1.5, 0.1)
    here = simulate(model, None, TIMES, ["S", "P"], parameters=values).values
    runner.integrator.relative_tolerance = 1e-10
    assert_allclose(np.asarray(runner.simulate(0.0, 5.0, 11, ["S", "[P]"])), here, rtol=1e-6, atol=1e-9)


def test_a_variant_of_a_bundled_model_keeps_its_values():
    model = Model.load("il7_stat5_imatinib", variant="CD8")
    made = calibrated_model(problem(model, [Parameter("kp", 0.01, 1.0, nominal=0.2)]), {"kp": 0.2})
    again = Model.load(made.sbml, trusted=True)
    stated = {name: again.entity(name).value for name in (*model.values, "kp")}
    assert_allclose([stated[name] for name in model.values], list(model.values.values()), rtol=1e-13)
    assert_allclose(stated["kp"], 0.2, rtol=1e-13)
    names = list(model.species)
    dosed = Experiment(Period(0.0, {"IL7": 0.05}))  # nM
    here = simulate(model, dosed, TIMES, names, parameters={"kp": 0.2}).values
    runner = tellurium.loadSBMLModel(made.sbml)
    runner["init([IL7])"] = 0.05
    assert_allclose(elsewhere(runner, names), here, rtol=1e-5, atol=1e-9)


def test_the_notes_say_what_was_done():
    model = Model.load(MODEL, trusted=True)
    experiment = Experiment(Period(0.0, {"b0": 2.0}))
    parameters = [Parameter("A", 0.0, 9.0, nominal=1.0), Parameter("sd", 0.0, 1.0, nominal=0.5)]
    made = calibrated_model(problem(model, parameters, experiment), {"A": 1.0, "sd": 0.5})
    said = " ".join(made.notes)
    assert "initial assignment of A was replaced" in said
    assert "Not in the model" in said and "sd = 0.5" in said
    assert "Experiments of the problem set b0" in said
    assert made.antimony.startswith("// Model conversion")
    assert libsbml_module().readSBMLFromString(made.sbml).getNumErrors(2) == 0  # errors, not warnings


def test_notes_of_hostile_names_stay_text():
    made = Problem("x</p><script>", Model.load(MODEL, trusted=True), [Parameter("k1", 0.1, 1.0, nominal=0.5)],
                   [Observable("o", "A", "1")], {"e": Experiment()}, [Measurement("o", "e", 1.0, 1.0)])  # fmt: skip
    found = calibrated_model(made, {"k1": 0.5})
    assert "<script" not in found.sbml and "&lt;script&gt;" in found.sbml
    assert Model.load(found.sbml, trusted=True).entity("k1").value == 0.5


def test_what_cannot_be_written_is_refused():
    model = Model.load(MODEL, trusted=True)
    with pytest.raises(InputError, match="negative"):
        with_values(model, {"A": -1.0})
    with pytest.raises(UnknownName, match="k3"):
        with_values(model, {"k3": 1.0})
    ruled = Model.load(to_sbml("model m\n  k = 1; twice := 2 * k; x = 0; x' = twice\nend"), trusted=True)
    with pytest.raises(InputError, match="assignment rule"):
        with_values(ruled, {"twice": 1.0})


def test_one_of_several_models_has_to_be_named():
    models = {"one": Model.load(MODEL, trusted=True), "two": Model.load(MODEL, trusted=True)}
    made = Problem("p", models, [Parameter("k1", 0.1, 1.0, nominal=0.5)], [Observable("o", "A", "1")],
                   {"e": Experiment()}, [Measurement("o", "e", 1.0, 1.0, model="one")])  # fmt: skip
    with pytest.raises(InputError, match="2 models"):
        calibrated_model(made, {"k1": 0.5})
    assert calibrated_model(made, {"k1": 0.5}, "two").written == {"k1": 0.5}
    with pytest.raises(UnknownName, match="did you mean 'two'"):
        calibrated_model(made, {"k1": 0.5}, "twoo")
