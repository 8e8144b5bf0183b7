"""Dose-response protocols run on models that pharmacology has solved: Clark, Gaddum, Schild."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose

from kinetics import (
    DoseProtocol,
    EC50Status,
    Experiment,
    Model,
    Period,
    Quantity,
    Readout,
    added,
    compare,
    dose_matrix,
    dose_response,
    doses,
    simulate,
)
from kinetics.engine import Engine
from kinetics.errors import InputError, SimulationError, UnitError, UnknownName

K_D, K_B = 2.0, 0.5
GRID = np.geomspace(1e-3, 1e4, 29)
OCCUPANCY = Readout.steady_state("C")


def _gaddum(dose: np.ndarray, antagonist: float) -> np.ndarray:
    return dose / (dose + K_D * (1.0 + antagonist / K_B))


@pytest.mark.parametrize("antagonist_dose", [0.0, 0.5, 5.0, 500.0])
def test_occupancy_is_gaddums_equation(antagonist, antagonist_dose):
    """C/R_total = L / (L + K_D (1 + B/K_B)), at equilibrium of three species that the integrator reaches by itself."""
    protocol = DoseProtocol("L", GRID, OCCUPANCY, Experiment(Period(0.0, {"B": antagonist_dose})))
    curve = dose_response(antagonist, protocol)
    assert_allclose(curve.responses, _gaddum(GRID, antagonist_dose), rtol=5e-6)  # drift allowed at steady state


def test_dose_ratios_are_schilds_with_slope_one(antagonist):
    control = dose_response(antagonist, DoseProtocol("L", GRID, OCCUPANCY), label="control")
    description = control.describe()
    assert description.status is EC50Status.INSIDE
    assert (description.ec50, description.hill) == pytest.approx((K_D, 1.0), rel=1e-4)
    assert (description.bottom, description.top) == pytest.approx((0.0, 1.0), abs=1e-4)
    for b in (0.5, 5.0, 50.0):
        treated = dose_response(antagonist, DoseProtocol("L", GRID, OCCUPANCY).under({"B": b}))
        shift = compare(control, treated)
        assert shift.dose_ratio == pytest.approx(1.0 + b / K_B, rel=1e-3)
        assert shift.equieffective_ratio == pytest.approx(1.0 + b / K_B, rel=0.01)  # interpolated
        assert shift.emax_ratio == pytest.approx(1.0, rel=1e-3)
        assert "A shift of EC50" in shift.verdict or b / K_B < 1.0 or shift.dose_ratio == pytest.approx(2.0, rel=1e-3)


def test_an_inhibitor_gives_a_falling_curve_with_the_cheng_prusoff_ic50(antagonist):
    """IC50 = K_B (1 + L/K_D), Cheng and Prusoff (1973)."""
    protocol = DoseProtocol("B", np.geomspace(1e-3, 1e3, 25), OCCUPANCY, Experiment(Period(0.0, {"L": 6.0})))
    curve = dose_response(antagonist, protocol)
    found = curve.describe()
    assert not found.rising
    assert found.ec50 == pytest.approx(K_B * (1.0 + 6.0 / K_D), rel=1e-3)
    assert curve.dose_for(0.375) == pytest.approx(2.0, rel=0.01)  # half of 6/8
    inhibition = dose_response(
        antagonist, DoseProtocol("B", protocol.doses, OCCUPANCY.percent_inhibition({"B": 0.0}), protocol.schedule)
    )
    assert inhibition.response_unit == "%"
    assert_allclose(inhibition.responses, 100.0 * (1.0 - curve.responses / 0.75), rtol=1e-4, atol=1e-3)


def test_read_outs_relative_to_the_curve(antagonist):
    plain = dose_response(antagonist, DoseProtocol("L", GRID, OCCUPANCY)).responses
    percent = dose_response(antagonist, DoseProtocol("L", GRID, OCCUPANCY.percent_of_maximum()))
    assert_allclose(percent.responses, 100.0 * plain / plain.max(), rtol=1e-12)
    fold = dose_response(antagonist, DoseProtocol("L", GRID, OCCUPANCY.fold_over({"L": 2.0})))
    assert_allclose(fold.responses, plain / 0.5, rtol=1e-5)
    assert (percent.response_unit, fold.response_unit) == ("%", "")


# --- schedules -----------------------------------------------------------------------------------------------


def test_steps_before_the_stimulation(decay):
    """A pre-incubation that doubles the rate for 10 and a wash of 5 before the dose at time 0."""
    protocol = DoseProtocol("A", [1.0, 2.0], Readout.at("A + P", 3.0)).before((10.0, {"k": 0.2}), (5.0, {"k": 0.0}))
    starts = [period.start.value for period in protocol.experiments()[0].periods]
    assert starts == [-15.0, -5.0, 0.0]
    produced = 1.0 + 10.0 * (1.0 - math.exp(-2.0))
    assert_allclose(dose_response(decay, protocol).responses, produced + np.array([1.0, 2.0]), rtol=1e-6)


def test_the_dose_can_be_given_in_any_period(decay):
    schedule = Experiment([Period(-4.0), Period(0.0, {"k": 0.0}), Period(2.0, {"k": 1.0})])
    for period, factor in ((0, math.exp(-0.4 - 1.0)), (1, math.exp(-1.0)), (2, math.exp(-1.0)), (-1, math.exp(-1.0))):
        curve = dose_response(decay, DoseProtocol("A", [1.0, 5.0], Readout.at("A", 3.0), schedule, period))
        assert_allclose(curve.responses, np.array([1.0, 5.0]) * factor, rtol=1e-6)
    for period in (3, -4):
        with pytest.raises(InputError, match="period"):
            DoseProtocol("A", [1.0], Readout.at("A", 3.0), schedule, period)


def test_a_period_index_stays_with_its_period_when_steps_are_put_before():
    base = DoseProtocol("A", [1.0], Readout.at("A", 3.0), Experiment([Period(0.0), Period(2.0)]), 0)
    moved = base.before((5.0, {"k": 1.0}))
    changed = [
        i for i, p in enumerate(moved.experiments()[0].periods) if p.conditions and "A" in p.conditions[0].changes
    ]
    assert changed == [1]


def test_steps_in_units_before_a_schedule_in_the_same(with_units):
    protocol = DoseProtocol("Drug", ["1 nM", "2 nM"], Readout.at("Drug + Other", "1 h")).before(("2 h", {"k": "3 1/h"}))
    produced = 10.0 * (1.0 - math.exp(-6.0))
    assert_allclose(dose_response(with_units, protocol).responses, produced + np.array([1.0, 2.0]), rtol=1e-6)


def test_steps_go_before_time_zero_only():
    with pytest.raises(InputError, match="time 0"):
        DoseProtocol("A", [1.0], Readout.at("A", 3.0), Experiment(Period(2.0))).before((5.0, {}))
    with pytest.raises(InputError, match="time 0"):
        DoseProtocol("A", [1.0], Readout.at("A", 3.0), Experiment([Period(-math.inf), Period(0.0)])).before((5.0, {}))


def test_a_curve_is_bit_identical_to_its_experiments_run_alone(antagonist):
    protocol = DoseProtocol("L", [0.0, 0.1, 1.0, 10.0], Readout.at("C", 1.5)).before(
        (5.0, {"B": 3.0}), (2.0, {"B": 0.0})
    )
    curve = dose_response(antagonist, protocol)
    alone = [simulate(antagonist, experiment, [1.5], ["C"])["C"][0] for experiment in protocol.experiments()]
    assert np.array_equal(curve.responses, alone)
    assert np.array_equal(dose_response(antagonist, protocol).responses, curve.responses)


def test_doses_in_any_grouping_give_the_same_numbers(antagonist):
    every = dose_response(antagonist, DoseProtocol("L", GRID, Readout.at("C", 2.0)).before((3.0, {"B": 1.0})))
    some = dose_response(antagonist, DoseProtocol("L", GRID[3::5], Readout.at("C", 2.0)).before((3.0, {"B": 1.0})))
    assert np.array_equal(every.responses[3::5], some.responses)


def test_what_doses_share_is_integrated_once(decay, monkeypatch):
    """A pre-incubation for all of them, and one common reference: twenty doses need twenty-one runs."""
    runs = []
    original = Engine.run
    monkeypatch.setattr(Engine, "run", lambda self, *more: runs.append(more[0]) or original(self, *more))
    doses = np.arange(1.0, 21.0)
    dose_response(decay, DoseProtocol("A", doses, Readout.at("A", 1.0)).before((24.0, {})))
    assert len(runs) == 21
    runs.clear()
    dose_response(decay, DoseProtocol("A", doses, Readout.at("A", 1.0).fold_over({"A": 5.0})))
    assert len(runs) == 21


def test_parameters_of_the_call_win_over_the_models(antagonist):
    curve = dose_response(antagonist, DoseProtocol("L", GRID, OCCUPANCY), parameters={"k_off": 20.0})
    assert_allclose(curve.responses, GRID / (GRID + 20.0), rtol=5e-6)


# --- units ---------------------------------------------------------------------------------------------------


def test_doses_need_a_unit_where_the_model_has_one(with_units):
    at = Readout.at("Drug", "10 min")
    with pytest.raises(UnitError, match=r"'Drug'.*nM"):
        dose_response(with_units, DoseProtocol("Drug", [1.0, 2.0], at))
    curve = dose_response(with_units, DoseProtocol("Drug", ["0 nM", "1 uM", "2 uM"], at))
    assert_allclose(curve.responses, 1000.0 * math.exp(-1.0) * np.array([0.0, 1.0, 2.0]), rtol=1e-6, atol=1e-12)
    assert (curve.dose_unit, curve.response_unit) == ("uM", "nM")
    mass = dose_response(with_units, DoseProtocol("Drug", ["50 ng/ml", "100 ng/ml"], at))
    assert_allclose(mass.responses, math.exp(-1.0) * np.array([1.0, 2.0]), rtol=1e-6)
    assert mass.dose_unit == "ng/ml"


def test_a_parameter_takes_bare_doses_in_its_own_unit(with_units):
    curve = dose_response(with_units, DoseProtocol("k", [0.0, 0.1], Readout.at("Drug", 10.0)))
    assert_allclose(curve.responses, [10.0, 10.0 * math.exp(-1.0)], rtol=1e-6)
    assert curve.dose_unit == "1/min"


@pytest.mark.parametrize(
    "given, error",
    [
        ([], InputError),
        (["-1 nM"], InputError),
        (["nan nM"], InputError),
        ([math.nan], InputError),
        ([math.inf], InputError),
        (["2 nM", "1 nM"], InputError),
        (["1 nM", "1 nM"], InputError),
        (["1 nM", "1 uM"], UnitError),
        (["1 nM", 2.0], UnitError),
        ("1 nM", InputError),
        ([None], UnitError),
    ],
)
def test_doses_that_are_none_are_refused_when_the_protocol_is_made(given, error):
    with pytest.raises(error, match=r"dose"):
        DoseProtocol("Drug", given, Readout.at("Drug", 1.0))


def test_a_zero_needs_no_unit():
    assert DoseProtocol("D", [0.0, "1 nM"], Readout.at("D", 1.0)).doses == (Quantity(0.0, "nM"), Quantity(1.0, "nM"))


def test_wrong_names_and_dimensions_are_refused_with_the_target(with_units):
    at = Readout.at("Drug", 1.0)
    with pytest.raises(UnknownName, match=r"'Drog'.*did you mean 'Drug'"):
        dose_response(with_units, DoseProtocol("Drog", ["1 nM"], at))
    with pytest.raises(UnitError, match=r"'Drug'.*dimensions"):
        dose_response(with_units, DoseProtocol("Drug", ["1 h"], at))
    with pytest.raises(UnitError, match="molar mass"):
        dose_response(with_units, DoseProtocol("Other", ["1 ng/ml"], at))


# --- matrices ------------------------------------------------------------------------------------------------


def test_a_matrix_is_gaddum_in_both_directions(antagonist):
    first, second = [0.0, 1.0, 10.0, 100.0], [0.0, 0.5, 5.0]
    matrix = dose_matrix(antagonist, DoseProtocol("L", first, OCCUPANCY), "B", second)
    assert matrix.responses.shape == (4, 3)
    expected = np.array([[a / (a + K_D * (1.0 + b / K_B)) for b in second] for a in first])
    assert_allclose(matrix.responses, expected, rtol=5e-6, atol=1e-9)
    frame = matrix.to_frame()
    row = frame[(frame.dose1 == 10.0) & (frame.dose2 == 5.0)].iloc[0]
    assert row.response == matrix.responses[2, 2]
    assert (row.drug1, row.drug2) == ("L", "B")


def test_a_matrix_with_the_second_drug_in_an_earlier_period(decay):
    """``k`` is dosed during the pre-incubation, ``A`` is added at time 0."""
    protocol = DoseProtocol("A", [1.0, 3.0], Readout.at("P", 0.0)).before((10.0, {}))
    matrix = dose_matrix(decay, protocol, "k", [0.0, 0.1, 0.3], period=0)
    produced = 1.0 + 10.0 * (1.0 - np.exp(-10.0 * np.array([0.0, 0.1, 0.3])))
    assert_allclose(matrix.responses, np.array([produced, produced]), rtol=1e-6)


def test_a_matrix_of_percentages_has_one_maximum(antagonist):
    protocol = DoseProtocol("L", [1.0, 100.0], OCCUPANCY.percent_of_maximum())
    matrix = dose_matrix(antagonist, protocol, "B", [0.0, 5.0])
    assert matrix.responses.max() == pytest.approx(100.0, rel=1e-12)
    assert matrix.responses[0, 0] == pytest.approx(
        100.0 * _gaddum(np.array(1.0), 0.0) / _gaddum(np.array(100.0), 0.0), rel=1e-5
    )
    with pytest.raises(InputError, match="different"):
        dose_matrix(antagonist, protocol, "L", [1.0])


# --- curves of models ----------------------------------------------------------------------------------------


def test_the_bundled_model_has_a_dose_response():
    model = Model.load("il7_stat5_imatinib")
    protocol = DoseProtocol("IL7", doses("1 pg/ml", "100 ng/ml", per_decade=2), Readout.at("pSTAT5_total", "30 min"))
    curve = dose_response(model, protocol, label="IL-7")
    assert np.all(np.diff(curve.responses) > 0.0)
    assert curve.describe().status is EC50Status.INSIDE
    assert (curve.dose_unit, curve.model, curve.label) == ("pg/ml", model.name, "IL-7")


def test_a_curve_that_does_not_respond_is_flat(decay):
    curve = dose_response(decay, DoseProtocol("P", np.geomspace(1, 100, 6), Readout.at("A", 5.0)))
    assert curve.describe().status is EC50Status.FLAT


def test_a_percentage_of_nothing_is_one_kind_of_error_everywhere(pk):
    """The same request through `measure` and through `dose_response`, with and without workers, fails alike."""
    from kinetics import measure

    readout = Readout.at("Drug", 1.0).percent_of_maximum()
    experiments = [Experiment(Period(0.0, {"k_e": k})) for k in (0.1, 0.2)]
    with pytest.raises(SimulationError, match="largest response is 0"):
        measure(pk, experiments, readout)
    with pytest.raises(SimulationError, match="largest response is 0"):
        dose_response(pk, DoseProtocol("k_e", [0.1, 0.2], readout))


def test_protocols_are_data(antagonist):
    protocol = DoseProtocol(
        "L", ["1 nM", "2 nM"], Readout.peak("C", 0.0, 1.0), Experiment(Period(0.0, {"B": added(1.0)}))
    )
    again = pickle.loads(pickle.dumps(protocol))
    assert again == protocol
    assert [e.id for e in protocol.experiments()] == ["L=1 nM", "L=2 nM"]
    with pytest.raises(AttributeError):
        protocol.target = "B"
