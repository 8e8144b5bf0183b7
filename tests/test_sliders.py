"""Sliders move curves; what cannot be simulated is said and survived; nobody pays for widgets who does not ask."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from PIL import Image

import kinetics as kin
from kinetics import sliders
from kinetics.errors import InputError, IntegrationFailed, UnknownName
from kinetics.plotting_live import LiveCurves

DOSES = [0.0, *np.geomspace(0.02, 200.0, 9).tolist()]
LATE = kin.Readout.at("C", 60.0)  # the slowest rate is 0.25: equilibrium


def protocol(**more: float) -> kin.DoseProtocol:
    return kin.DoseProtocol("L", DOSES, LATE, kin.Experiment.steps((60.0, more)))


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)), dtype=int)


def test_a_move_changes_the_curve_and_the_picture(antagonist):
    explorer = kin.explore(antagonist, protocol(), ["k_on", "k_off"])
    before = explorer.picture.value
    assert_allclose(explorer.curves[0].responses, np.array(DOSES) / (np.array(DOSES) + 2.0), atol=1e-6)
    explorer.sliders["k_off"].value = 20.0
    assert_allclose(explorer.curves[0].responses, np.array(DOSES) / (np.array(DOSES) + 20.0), atol=1e-6)
    assert explorer.picture.value != before
    half = float(re.search(r"half-maximal dose ([\d.]+)", explorer.message.value).group(1))
    assert_allclose(half, 200.0 / 12.0, rtol=0.03)  # of the span shown, 200 / 220; interpolated between doses
    explorer.reset()
    assert explorer.values == {"k_on": 1.0, "k_off": 2.0}
    assert_allclose(explorer.curves[0].responses, np.array(DOSES) / (np.array(DOSES) + 2.0), atol=1e-6)


def test_the_control_arm_is_drawn_first_and_moves_too(antagonist):
    explorer = kin.explore(antagonist, protocol(B=4.5), ["k_on"], control=protocol())
    control, treated = explorer.curves
    assert (control.label, treated.label) == ("control", "treated")
    share = np.array(DOSES) / (np.array(DOSES) + 2.0 * (1.0 + 4.5 / 0.5))  # Gaddum, K_b 0.5: tenfold
    assert_allclose(treated.responses, share, atol=1e-5)
    assert "ratio" in explorer.message.value
    explorer.sliders["k_on"].value = 0.1
    assert not np.allclose(explorer.curves[0].responses, control.responses)


def test_a_simulation_that_fails_is_shown_and_survived(antagonist, monkeypatch):
    explorer = kin.explore(antagonist, protocol(), ["k_on"])
    good, real = explorer.picture.value, sliders.dose_response

    def fails(*_: object, **__: object) -> None:
        raise IntegrationFailed("<script>alert(1)</script> between times 0 and 60")

    monkeypatch.setattr(sliders, "dose_response", fails)
    explorer.sliders["k_on"].value = 3.0
    assert "IntegrationFailed" in explorer.message.value and "&lt;script&gt;" in explorer.message.value
    assert "<script" not in explorer.message.value
    assert explorer.picture.value != good  # pale
    monkeypatch.setattr(sliders, "dose_response", real)
    explorer.sliders["k_on"].value = 1.0
    assert "IntegrationFailed" not in explorer.message.value
    assert explorer.picture.value == good


def test_an_unthinkable_value_is_an_error_in_the_widget(antagonist):
    """No mock: the sliders reach values the engine cannot follow, here a rate that is no number."""
    explorer = kin.explore(antagonist, protocol(), ["k_on"], ranges={"k_on": (0.0, 1e308)})
    explorer.sliders["k_on"].value = 1e308
    assert "<b>" in explorer.message.value
    explorer.sliders["k_on"].value = 1.0
    assert "<b>" not in explorer.message.value


class Declared:
    lower, upper = 0.5, 50.0


def test_sliders_go_where_they_should(antagonist):
    made = kin.explore(antagonist, protocol(), ranges={"k_on": (0.0, 10.0), "k_off": Declared(), "R": (5.0, 9.0)})
    assert list(made.sliders) == ["k_on", "k_off", "R"]
    linear, logarithmic, widened = made.sliders.values()
    assert (linear.min, linear.max) == (0.0, 10.0)
    assert_allclose((logarithmic.min, logarithmic.max), np.log10([0.5, 50.0]))
    assert_allclose((widened.min, widened.max), np.log10([1.0, 9.0]))  # the model's own value has a place
    around = kin.explore(antagonist, protocol(), "k_off").sliders["k_off"]
    assert_allclose((around.min, around.max), np.log10([0.02, 200.0]))


def test_which_parameters_by_default(antagonist):
    assert {"k_on", "k_off"} <= set(kin.explore(antagonist, protocol()).sliders)
    model = kin.Model.load("il7_stat5_imatinib")
    few = kin.DoseProtocol("IL7", ["0.01 ng/ml", "1 ng/ml"], kin.Readout.at("pSTAT5_total", "30 min"))
    names = list(kin.explore(model, few).sliders)
    assert "fold_IL7R" in names and "fold_kinase" in names and len(names) <= sliders.MOST_SLIDERS


def test_what_cannot_get_a_slider(antagonist):
    with pytest.raises(UnknownName, match="k_on"):
        kin.explore(antagonist, protocol(), ["k_onn"])
    with pytest.raises(InputError, match="lower < upper"):
        kin.explore(antagonist, protocol(), ["k_on"], ranges={"k_on": (2.0, 1.0)})
    with pytest.raises(InputError, match="logarithmic"):
        kin.explore(antagonist, protocol(), ["B"])
    with pytest.raises(InputError, match="begin at 0"):
        kin.explore(antagonist, protocol(), ["B"], ranges={"B": (1.0, 2.0)})


def test_without_ipywidgets_the_error_says_what_to_install(antagonist, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(InputError, match=r"\[notebook\]"):
        kin.explore(antagonist, protocol(), ["k_on"])


def test_importing_kinetics_imports_no_widgets():
    code = "import sys, kinetics; kinetics.explore; print({'ipywidgets', 'IPython', 'matplotlib'} & set(sys.modules))"
    root = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": root}
    )
    assert done.stdout.strip() == "set()"


# --- the picture --------------------------------------------------------------------------------------------


def curve(top: float, doses: list[float] = DOSES) -> kin.DoseResponseCurve:
    values = top * np.array(doses) / (np.array(doses) + 2.0)
    return kin.DoseResponseCurve(np.array(doses), values, "nM", "nM", "L", "C", label="live")


def test_only_the_curves_are_redrawn_until_they_leave_the_picture():
    picture = LiveCurves([curve(1.0)])
    first = picture.png
    assert picture.axes_drawn == 1
    picture.update([curve(0.8)])
    assert picture.axes_drawn == 1 and picture.png != first
    picture.update([curve(5.0)])
    assert picture.axes_drawn == 2
    assert picture.update([curve(1.0)]) == first  # small in the large axes, so these are drawn anew
    assert picture.axes_drawn == 3
    with pytest.raises(InputError, match="1 curves, got 2"):
        picture.update([curve(1.0), curve(1.0)])
    with pytest.raises(InputError, match="10 doses"):
        picture.update([curve(1.0, DOSES[1:])])


def test_a_redrawn_picture_is_what_a_new_one_would_be():
    """Pixel for pixel, where the axes are the same: nothing of an earlier curve is left behind."""
    moved = LiveCurves([curve(1.0)])
    moved.update([curve(0.6)])
    moved.update([curve(1.0)])
    assert np.array_equal(pixels(moved.png), pixels(LiveCurves([curve(1.0)]).png))
    assert not np.array_equal(pixels(moved.faded()), pixels(moved.update([curve(1.0)])))
