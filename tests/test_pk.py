"""Oral pharmacokinetics: closed forms against an independent integration, mass balance, and a simulated model."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.integrate import solve_ivp

import kinetics as kin
from kinetics import pk
from kinetics.catalogue import LABELS
from kinetics.errors import InputError, UnknownName

RATES = {"rise": 2.0, "absorption": 1.1, "elimination": 0.3, "interval": 8.0, "unbound_fraction": 0.25}
EXCHANGE = 0.7  # 1/h


def _integrated(dosing: pk.OralDosing, doses: int, times: np.ndarray) -> np.ndarray:
    """Gut, plasma and cells as three differential equations, restarted at each dose; plasma and cells at ``times``."""
    state, found = np.zeros(3), []

    def rates(_: float, y: np.ndarray) -> list[float]:
        taken = dosing.absorption * y[0]
        return [-taken, taken - dosing.elimination * y[1], EXCHANGE * (y[1] - y[2])]

    for k in range(doses):
        state = state + np.array([dosing.rise, 0.0, 0.0])
        begin, end = k * dosing.interval, (k + 1) * dosing.interval
        inside = times[(times >= begin) & (times < end)]
        solution = solve_ivp(rates, (begin, end), state, t_eval=[*inside, end], rtol=1e-11, atol=1e-13)
        found.append(solution.y[1:, :-1])
        state = solution.y[:, -1]
    return np.concatenate(found, axis=1)


def test_repeated_doses_agree_with_an_integration_of_gut_plasma_and_cells():
    dosing = pk.OralDosing(**RATES)
    times = np.linspace(0.0, 31.0, 63)
    plasma, cells = _integrated(dosing, 4, times)
    assert_allclose(dosing.one.repeated(times, 8.0, 4), plasma, atol=1e-9)
    assert_allclose(dosing.one.through(EXCHANGE).repeated(times, 8.0, 4), cells, atol=1e-9)


def test_periodic_state_is_what_many_doses_come_to():
    dosing = pk.OralDosing(**RATES)
    times = np.linspace(0.0, 8.0, 17)[:-1]
    late = dosing.one.through(EXCHANGE).repeated(times + 8.0 * 30, 8.0, 31)
    assert_allclose(dosing.unbound_in_cells(times, EXCHANGE), 0.25 * late, rtol=1e-10)
    assert_allclose(dosing.unbound(times), dosing.unbound(times + 24.0), rtol=1e-12)


def test_area_is_dose_over_clearance():
    """Mass balance: everything absorbed is eliminated, so the area is F D / CL, whatever the absorption."""
    dosing = pk.OralDosing.from_clearance(
        400.0, molar_mass=493.6, clearance=14.3, volume=347.0, absorption=0.9, interval=24.0
    )
    area = 400.0 / 493.6 * 1e3 / 14.3  # umol over l/h: uM h
    assert_allclose(dosing.one.area, area, rtol=1e-12)
    assert_allclose(dosing.average, area / 24.0, rtol=1e-12)
    assert_allclose(dosing.one.through(EXCHANGE).area, area, rtol=1e-12)  # exchange delays, it does not remove


def test_human_regimen_has_the_reported_half_life_and_trough():
    """t1/2 about 18 h and trough 979 +- 530 ng/ml at 400 mg a day (Blood 2008;111:4022), 493.6 g/mol."""
    human = pk.bundled("human")
    assert np.log(2.0) / human.elimination == pytest.approx(18.0, rel=0.1)
    trough = float(human.one.periodic([24.0 - 1e-9], 24.0)[0]) * 493.6  # ng/ml
    assert abs(trough - 979.0) < 530.0
    assert 0.022 < float(human.unbound_average) < 0.336  # uM, reported unbound plasma concentrations


def test_mouse_regimen_has_the_stated_peak_and_half_life():
    mouse = pk.bundled("mouse")
    fine = np.linspace(0.0, 6.0, 60_001)
    assert float(np.max(mouse.one.after(fine))) == pytest.approx(17.3, rel=1e-8)
    late = mouse.one.after([20.0, 21.73])
    assert late[1] / late[0] == pytest.approx(0.5, rel=1e-6)


def test_every_bundled_number_states_label_and_source():
    for regimen in pk.regimens().values():
        for name, item in regimen.items():
            assert item.label in LABELS and item.source and item.unit, name
            assert item.range is None or item.range[0] < item.value < item.range[1], name


def test_subjects_are_columns():
    peaks = np.array([10.0, 20.0, 30.0])
    many = pk.bundled("mouse", peak=peaks, half_life=np.array([1.0, 2.0, 3.0]))
    times = np.array([0.5, 2.0, 7.0, 11.0])
    table = many.unbound_in_cells(times, 0.26)
    assert table.shape == (4, 3)
    for k, half in enumerate((1.0, 2.0, 3.0)):
        one = pk.bundled("mouse", peak=peaks[k], half_life=half)
        assert_allclose(table[:, k], one.unbound_in_cells(times, 0.26), rtol=1e-12)
    assert pk.bundled("human", unbound_fraction=np.array([0.03, 0.06])).unbound_in_cells(times, 0.26).shape == (4, 2)


@pytest.mark.parametrize("pieces", [1, 6, 24])
def test_pieces_keep_the_area_in_a_simulation(pieces: int):
    """A model that sums up its input: ``A' = u``.  Each piece holds its average, so the integral is exact."""
    text = """model sums()
      unit substance = 1e-21 mole; unit volume = 1e-12 litre; unit time_unit = 3600 second; unit extent = 1e-21 mole
      unit nM = 1e-21 mole / 1e-12 litre; unit per_h = 1 / 3600 second
      compartment c = 1; species A in c; A = 0
      taken: -> A; c * u * k
      u = 0; u has nM; k = 1; k has per_h
    end"""
    dosing = pk.OralDosing(**RATES)
    course = kin.simulate(
        kin.Model.load(text, trusted=True), dosing.held("u", doses=3, pieces=pieces), ["24 h"], ["A"]
    )
    area = sum(float(dosing.one.area_until([24.0 - k * 8.0])[0]) for k in range(3))
    assert course["A"][-1] == pytest.approx(0.25 * area * 1e3, rel=1e-7)  # uM h to nM h


@given(
    ka=st.floats(0.2, 5.0), ratio=st.floats(0.05, 0.9), tau=st.floats(2.0, 48.0), t=st.floats(0.0, 1.0)
)
def test_periodic_state_repeats_and_stays_above_zero(ka: float, ratio: float, tau: float, t: float):
    dosing = pk.OralDosing(1.0, ka, ka * ratio, tau)
    now, later = dosing.unbound([t * tau, t * tau + tau])
    assert now == pytest.approx(later, rel=1e-6, abs=1e-12)
    assert now > 0.0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rise": 0.0}, "rise"),
        ({"elimination": np.nan}, "elimination"),
        ({"interval": np.inf}, "interval"),
        ({"unbound_fraction": 1.5}, "unbound fraction"),
        ({"absorption": 0.3}, "equals another rate"),
    ],
)
def test_impossible_dosing_is_refused(changes: dict[str, float], said: str):
    with pytest.raises(InputError, match=said):
        pk.OralDosing(**{**RATES, **changes})


def test_other_mistakes_are_refused():
    dosing = pk.OralDosing(**RATES)
    with pytest.raises(InputError, match="equals another rate"):
        dosing.one.through(0.3)
    with pytest.raises(InputError, match="at least 1"):
        dosing.held("u", doses=0, pieces=3)
    with pytest.raises(InputError, match="one subject"):
        pk.bundled("mouse", peak=np.array([10.0, 20.0])).held("u", doses=1, pieces=1)
    with pytest.raises(UnknownName, match="mouse"):
        pk.bundled("mous")
    with pytest.raises(UnknownName, match="half_life"):
        pk.bundled("mouse", halflife=2.0)
