"""Models in and out: values of variants travel with the model, whatever it is handed out as."""

from __future__ import annotations

import numpy as np
import pytest

import kinetics as kin
from kinetics import Experiment, Model, simulate
from kinetics.errors import UnknownName
from kinetics.rewriting import with_stated_values

STIMULATED = Experiment.steps(("30 min", {"IL7": "1 nM"}))


def _in_tellurium(model: Model, observable: str, *, reset: bool = False) -> float:
    runner = model.to_tellurium()
    if reset:
        runner["[IL7]"] = 5.0
        runner.simulate(0, 10, 2)
        runner.resetAll()
    runner["[IL7]"] = 1.0
    runner.integrator.relative_tolerance = 1e-9
    return float(runner.simulate(0, 30, 2, ["time", observable])[-1][1])


@pytest.mark.parametrize(
    "change",
    [
        lambda model: model,
        lambda model: model.variant("memory_CD8"),  # IL7R follows from IL7R_number by an initial assignment
        lambda model: model.with_values(kp=0.5, gc=20.0),
        lambda model: model.with_values(gc=20.0, kp=0.5),
        lambda model: model.with_values(cell=0.4),
        lambda model: model.with_values(cell_density=1e6),
    ],
    ids=["as it is", "variant", "parameter first", "species first", "volume", "parameter of a volume"],
)
@pytest.mark.parametrize("reset", [False, True], ids=["fresh", "after a reset"])
def test_tellurium_sees_the_same_values_as_we_do(change, reset):
    model = change(Model.load("il7_stat5_imatinib"))
    ours = simulate(model, STIMULATED, [30.0], ["pSTAT5_total"])["pSTAT5_total"][0]
    assert _in_tellurium(model, "pSTAT5_total", reset=reset) == pytest.approx(ours, rel=1e-5)


def test_antimony_and_sbml_carry_the_values_of_a_variant():
    model = Model.load("il7_stat5_imatinib", variant="memory_CD8")
    expected = simulate(model, STIMULATED, [30.0], ["pSTAT5_total"])["pSTAT5_total"][0]
    for text in (model.to_sbml(), model.to_antimony()):
        again = Model.load(text, molar_masses=model.molar_masses, trusted=True)
        found = simulate(again, STIMULATED, [30.0], ["pSTAT5_total"])["pSTAT5_total"][0]
        assert found == pytest.approx(expected, rel=1e-9)


def test_a_value_that_the_model_lacks_cannot_be_written():
    with pytest.raises(UnknownName, match=r"kpp.*did you mean 'kp'"):
        with_stated_values(Model.load("il7_stat5_imatinib").sbml, {"kpp": 1.0})


def test_public_names_are_all_there():
    for name in kin.__all__:
        assert getattr(kin, name) is not None
    assert set(kin.__all__) <= set(dir(kin))
    assert np.all([name[0] != "_" for name in kin.__all__])
