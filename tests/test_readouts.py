"""Read-outs against closed forms: peak and area of the Bateman function, half times, gates, relative read-outs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.stats import norm

from kinetics import Experiment, Model, Period, Readout, added, measure
from kinetics.errors import InputError, SimulationError, UnitError, UnknownName

RTOL = 2e-6  # grids are refined until a read-out changes by less than 1e-6; the integrator adds about 4e-7
K_A, K_E, DOSE = 0.5, 0.2, 40.0
ORAL = Experiment(Period(0.0, {"Gut": DOSE}))
RUN = Experiment()


def _bateman(t: float) -> float:
    return DOSE * K_A / (K_A - K_E) * (math.exp(-K_E * t) - math.exp(-K_A * t))


def _one(model: Model, readout: Readout, experiment: Experiment = RUN, **parameters: float) -> float:
    return float(measure(model, [experiment], readout, parameters=parameters)[0])


# --- at, peak, area, half time, steady state ------------------------------------------------------------------


def test_value_at_a_time(pk, with_units):
    assert _one(pk, Readout.at("Drug", 3.0), ORAL) == pytest.approx(_bateman(3.0), rel=1e-6)
    assert _one(with_units, Readout.at("Drug", "0.5 h")) == pytest.approx(10.0 * math.exp(-3.0), rel=1e-6)


@pytest.mark.parametrize("end", [5.0, 24.0, 480.0])
def test_peak_of_an_oral_dose(pk, end):
    """t_max = ln(k_a/k_e)/(k_a - k_e), inside every one of these windows."""
    t_max = math.log(K_A / K_E) / (K_A - K_E)
    assert _one(pk, Readout.peak("Drug", 0.0, end), ORAL) == pytest.approx(_bateman(t_max), rel=RTOL)


def test_peak_at_an_edge_of_the_window(pk, decay):
    assert _one(pk, Readout.peak("Drug", 0.0, 1.0), ORAL) == pytest.approx(_bateman(1.0), rel=RTOL)
    assert _one(pk, Readout.peak("Drug", 8.0, 9.0), ORAL) == pytest.approx(_bateman(8.0), rel=RTOL)
    assert _one(decay, Readout.peak("A", 0.0, 50.0)) == 10.0


@pytest.mark.parametrize("end", [1.0, 24.0, 200.0])
def test_area_of_an_oral_dose(pk, end):
    exact = DOSE * K_A / (K_A - K_E) * ((1 - math.exp(-K_E * end)) / K_E - (1 - math.exp(-K_A * end)) / K_A)
    assert _one(pk, Readout.area("Drug", 0.0, end), ORAL) == pytest.approx(exact, rel=RTOL)


def test_area_does_not_count_what_was_before_the_window(decay):
    exact = 10.0 / 0.1 * (math.exp(-0.5) - math.exp(-1.5))
    assert _one(decay, Readout.area("A", 5.0, 15.0)) == pytest.approx(exact, rel=RTOL)


def test_total_area_is_dose_over_clearance(pk):
    assert _one(pk, Readout.area("Drug", 0.0, 400.0), ORAL) == pytest.approx(DOSE / K_E, rel=RTOL)


@settings(max_examples=15, deadline=None)
@given(start=st.floats(0.001, 7.0), length=st.floats(0.01, 40.0))
def test_area_of_any_window(decay, start, length):
    """Windows whose ends are not round: the grid must not step over them or on itself."""
    end = start + length
    exact = 10.0 / 0.1 * (math.exp(-0.1 * start) - math.exp(-0.1 * end))
    assert _one(decay, Readout.area("A", start, end)) == pytest.approx(exact, rel=1e-5)


BOLUSES = Experiment(
    [Period(0.0, {"Drug": 1.0}), Period(7.0, {"Drug": added(10.0)}), Period(12.0, {"Drug": added(5.0)})]
)


def test_peak_right_after_a_bolus_inside_the_window(pk):
    """The largest value is the one just after the dose; there is no parabola through a jump."""
    exact = 10.0 + math.exp(-K_E * 7.0)
    assert _one(pk, Readout.peak("Drug", 0.0, 20.0), BOLUSES) == pytest.approx(exact, rel=RTOL)


def test_area_over_boluses_inside_the_window(pk):
    exact = sum(dose * (1.0 - math.exp(-K_E * (20.0 - t))) / K_E for dose, t in ((1.0, 0.0), (10.0, 7.0), (5.0, 12.0)))
    assert _one(pk, Readout.area("Drug", 0.0, 20.0), BOLUSES) == pytest.approx(exact, rel=RTOL)


def test_peak_and_area_over_a_jump_that_an_event_makes():
    model = Model.load(
        "model m()\n compartment c = 1; species A in c; A -> ; c*0.1*A; A = 1\n at (time > 7): A = A + 10\nend",
        trusted=True,
    )
    assert _one(model, Readout.peak("A", 0.0, 20.0)) == pytest.approx(10.0 + math.exp(-0.7), rel=1e-4)
    exact = 10.0 * (1.0 - math.exp(-2.0)) + 100.0 * (1.0 - math.exp(-1.3))
    # where an event happens is not known beforehand, so that the grid decides: 8000 points in the window
    assert _one(model, Readout.area("A", 0.0, 20.0)) == pytest.approx(exact, rel=1e-4)


def test_peak_of_a_short_infusion_late_in_a_long_window(pk):
    """The end of the infusion is the peak: a kink that no smooth curve goes through."""
    pulse = Experiment(Period(0.0)) + Experiment.infusion("rate", 6.0, start=431.7, duration=0.9)
    exact = 6.0 / K_E * (1.0 - math.exp(-K_E * 0.9))
    assert _one(pk, Readout.peak("Drug", 0.0, 480.0), pulse) == pytest.approx(exact, rel=RTOL)


@pytest.mark.parametrize("k", [1e-2, 0.1, 3.0])
def test_half_time_of_a_complete_decay_is_ln2_over_k(decay, k):
    window = 40.0 / k  # what is left is e^-40
    assert _one(decay, Readout.half_time("A", 0.0, window), k=k) == pytest.approx(math.log(2.0) / k, rel=1e-5)


def test_half_time_of_a_rise_and_of_a_part_of_it(decay):
    assert _one(decay, Readout.half_time("P", 0.0, 400.0)) == pytest.approx(math.log(2.0) / 0.1, rel=1e-5)
    change = 1.0 - math.exp(-1.0)  # over 10 the decay gets this far; half of it is gone at:
    assert _one(decay, Readout.half_time("A", 5.0, 15.0)) == pytest.approx(-math.log(1 - change / 2) / 0.1, rel=1e-5)


def test_half_time_of_what_does_not_change_is_nan(decay):
    assert math.isnan(_one(decay, Readout.half_time("A + P", 0.0, 10.0)))


def test_steady_state(pk):
    infused = Experiment(Period(0.0, {"rate": 3.0}))
    for readout in (Readout.steady_state("Drug"), Readout.at("Drug", math.inf)):
        assert readout.when == "steady_state"
        assert _one(pk, readout, infused) == pytest.approx(3.0 / K_E, rel=2e-6)


def test_formulas_and_several_experiments(pk):
    experiments = [Experiment(Period(0.0, {"Gut": dose})) for dose in (1.0, 2.0, 0.0)]
    values = measure(pk, experiments, Readout.at("2 * Drug + Gut", 2.0))
    assert values.shape == (3,)
    one = 2.0 * _bateman(2.0) / DOSE + math.exp(-K_A * 2.0)
    assert_allclose(values, [one, 2.0 * one, 0.0], rtol=1e-6, atol=1e-12)


# --- relative read-outs --------------------------------------------------------------------------------------


def test_fold_percent_and_inhibition(decay):
    at = Readout.at("A", 10.0)
    experiments = [Experiment(Period(0.0, {"k": k})) for k in (0.1, 0.2, 0.05)]
    ratio = np.exp(-10.0 * (np.array([0.1, 0.2, 0.05]) - 0.1))
    assert_allclose(measure(decay, experiments, at.fold_over({"k": 0.1})), ratio, rtol=1e-6)
    assert_allclose(measure(decay, experiments, at.percent_of({"k": 0.1})), 100.0 * ratio, rtol=1e-6)
    inhibition = measure(decay, experiments, at.percent_inhibition({"k": 0.1}))
    assert_allclose(inhibition, 100.0 * (1.0 - ratio), rtol=1e-6, atol=1e-9)
    assert inhibition[0] == 0.0  # under its own reference: not nearly 0


def test_a_reference_replaces_where_the_target_is_set(decay):
    """The dose of an earlier period is the one that is replaced; the rest stays."""
    experiment = Experiment([Period(-10.0, {"k": 0.5}), Period(0.0, {"A": added(1.0)})])
    got = _one(decay, Readout.at("A", 5.0).fold_over({"k": 0.2}), experiment)
    expected = (10 * math.exp(-5.0) + 1) * math.exp(-2.5) / ((10 * math.exp(-2.0) + 1) * math.exp(-1.0))
    assert got == pytest.approx(expected, rel=1e-6)


def test_each_experiment_has_its_own_reference(decay):
    experiments = [Experiment(Period(0.0, {"A": a, "k": 0.3})) for a in (1.0, 2.0, 7.0)]
    got = measure(decay, experiments, Readout.at("A", 1.0).fold_over({"k": 0.1}))
    assert_allclose(got, math.exp(-0.2), rtol=1e-6)


def test_percent_of_maximum(decay):
    experiments = [Experiment(Period(0.0, {"A": a})) for a in (1.0, 4.0, 2.0)]
    assert_allclose(
        measure(decay, experiments, Readout.at("A", 1.0).percent_of_maximum()), [25.0, 100.0, 50.0], rtol=1e-6
    )


def test_peaks_and_areas_can_be_relative(pk):
    experiments = [Experiment(Period(0.0, {"Gut": dose})) for dose in (10.0, 30.0)]
    for readout in (Readout.peak("Drug", 0.0, 24.0), Readout.area("Drug", 0.0, 24.0)):
        assert_allclose(measure(pk, experiments, readout.fold_over({"Gut": 5.0})), [2.0, 6.0], rtol=1e-5)


def test_ratios_to_nothing_are_refused(pk, decay):
    with pytest.raises(SimulationError, match="0 under its reference"):
        measure(pk, [ORAL], Readout.at("Drug", 1.0).fold_over({"Gut": 0.0}))
    with pytest.raises((SimulationError, InputError), match="largest response is 0"):
        measure(pk, [RUN], Readout.at("Drug", 1.0).percent_of_maximum())
    with pytest.raises(SimulationError, match=r"(?i)nan"):
        measure(pk, [RUN], Readout.at("Drug / Gut", 1.0))
    with pytest.raises(InputError, match="at least one change"):
        Readout.at("A", 1.0).fold_over({})
    with pytest.raises(UnknownName, match="'kk'"):
        measure(decay, [RUN], Readout.at("A", 1.0).fold_over({"kk": 1.0}))


def test_an_infinite_read_out_is_refused_like_a_nan(decay):
    with pytest.raises(SimulationError):
        measure(decay, [Experiment(Period(0.0, {"A": 0.0}))], Readout.at("1 / A", 1.0))


def test_relative_to_one_thing_only():
    fold = Readout.at("A", 1.0).fold_over({"k": 1.0})
    for twice in (lambda: fold.percent_of({"k": 2.0}), fold.percent_of_maximum):
        with pytest.raises(InputError, match="one thing only"):
            twice()
    with pytest.raises(InputError, match="one thing only"):
        Readout.at("A", 1.0).percent_of_maximum().fold_over({"k": 1.0})


# --- gates ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [0.1, 0.5, 2.0])
def test_fraction_positive_is_phi(decay, sigma):
    """Cells log-normal around the median m: P(X > g) = Phi(ln(m/g)/sigma)."""
    experiments = [Experiment(Period(0.0, {"A": a})) for a in (1.0, 5.0, 9.0)]
    got = measure(decay, experiments, Readout.at("A", 0.0).fraction_positive(threshold=5.0, sigma=sigma))
    assert_allclose(got, norm.cdf(np.log(np.array([1.0, 5.0, 9.0]) / 5.0) / sigma), rtol=1e-12)
    assert got[1] == 0.5


def test_nothing_is_positive_where_there_is_nothing(pk):
    assert _one(pk, Readout.at("Drug", 1.0).fraction_positive(1.0, 0.5)) == 0.0


def test_fold_of_a_fraction_compares_fractions(decay):
    readout = Readout.at("A", 0.0).fraction_positive(5.0, 1.0).fold_over({"A": 2.0})
    expected = norm.cdf(math.log(10.0 / 5.0)) / norm.cdf(math.log(2.0 / 5.0))
    assert _one(decay, readout, Experiment(Period(0.0, {"A": 10.0}))) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    "threshold, sigma", [(0.0, 1.0), (-1.0, 1.0), (1.0, 0.0), (1.0, -1.0), (math.nan, 1.0), (1.0, math.inf)]
)
def test_gates_need_positive_numbers(threshold, sigma):
    with pytest.raises(InputError, match="gate"):
        Readout.at("A", 1.0).fraction_positive(threshold, sigma)


# --- windows, units, words -----------------------------------------------------------------------------------


@pytest.mark.parametrize("start, end", [(5.0, 5.0), (5.0, 1.0), (0.0, math.inf)])
def test_windows_need_a_start_before_a_finite_end(decay, start, end):
    for make in (Readout.peak, Readout.area, Readout.half_time):
        with pytest.raises(InputError, match="window"):
            measure(decay, [RUN], make("A", start, end))


def test_times_of_readouts_are_checked(decay, with_units):
    with pytest.raises(InputError, match="NaN"):
        Readout.at("A", math.nan)
    with pytest.raises(InputError, match="before the first period"):
        measure(decay, [RUN], Readout.at("A", -1.0))
    with pytest.raises(UnitError, match="dimensions differ"):
        measure(with_units, [RUN], Readout.at("Drug", "3 nM"))
    with pytest.raises(UnknownName, match="'AA'"):
        measure(decay, [RUN], Readout.at("AA", 1.0))


def test_units_the_read_out_decides():
    at = Readout.at("A", 1.0)
    assert at.own_unit is None
    assert at.fold_over({"k": 1.0}).own_unit == ""
    assert at.percent_of({"k": 1.0}).own_unit == at.percent_inhibition({"k": 1.0}).own_unit == "%"
    assert at.percent_of_maximum().own_unit == "%"
    assert at.fraction_positive(1.0, 1.0).own_unit == ""


def test_a_readout_says_what_it_is():
    readout = Readout.at("pSTAT5", "30 min").fold_over({"IL7": 0})
    assert repr(readout) == "Readout('pSTAT5' at 30 min, fold over IL7=0)"
    assert "peak of 'A' from 0 to 5 h" in repr(Readout.peak("A", 0.0, "5 h"))
    assert "fraction above 2" in repr(Readout.steady_state("A").fraction_positive(2.0, 1.0))
