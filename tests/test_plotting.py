"""Figures show what they are given: units, dose 0, the shift; and they leave no trace in pyplot."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.axes import Axes
from numpy.testing import assert_allclose

import kinetics as kin
from kinetics import plotting
from kinetics.curves import hill
from kinetics.errors import InputError, UnknownName
from kinetics.timecourse import Status, TimeCourse

DOSES = np.concatenate(([0.0], np.geomspace(0.01, 100.0, 17)))


def curve(ec50: float = 1.0, top: float = 100.0, doses: np.ndarray = DOSES, **changes: object) -> kin.DoseResponseCurve:
    made = kin.DoseResponseCurve(doses, hill(doses, 0.0, top, ec50, 1.0), "ng/ml", "nM", "IL7", "pSTAT5")
    return replace(made, **changes)  # type: ignore[arg-type]


def course(times: list[float], units: tuple[str, ...] = ("nM", "nM")) -> TimeCourse:
    values = np.column_stack([np.arange(len(times), dtype=float) + i for i in range(len(units))])
    names = ("A", "B", "C")[: len(units)]
    return TimeCourse(np.array(times), values, names, units, "min", "m", "", kin.Solver(), Status.COMPLETED)


def ticks(ax: Axes) -> dict[str, float]:
    ax.figure.canvas.draw()
    return {label.get_text(): float(label.get_position()[0]) for label in ax.get_xticklabels()}


@pytest.fixture
def ax() -> Axes:
    return plotting.new_axes()


# --- all of them --------------------------------------------------------------------------------------------

MATRIX = kin.DoseMatrix(
    np.array([0.0, 1.0, 1000.0]), np.array([0.0, 5.0]), np.arange(6.0).reshape(3, 2), "ng/ml", "uM", "nM",
    ("IL7", "Imatinib"), "pSTAT5",
)  # fmt: skip
DRAWINGS = {
    "time course": lambda ax: plotting.plot_time_course(course([0, 1, 2]), ax=ax),
    "dose-response": lambda ax: plotting.plot_dose_response(curve(), ax),
    "shift": lambda ax: plotting.plot_shift(curve(), curve(10.0), ax),
    "dose matrix": lambda ax: plotting.plot_dose_matrix(MATRIX, ax),
}


@pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS.keys())
def test_plots_draw_on_the_axes_they_are_given_and_touch_no_global_state(draw, ax, monkeypatch):
    monkeypatch.setattr(pyplot, "show", lambda: pytest.fail("a plot must not show itself"))
    before = pyplot.get_fignums()
    assert draw(ax) is ax
    assert pyplot.get_fignums() == before
    assert "(" in ax.get_xlabel() + ax.get_ylabel()  # a unit


@pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS.keys())
def test_without_axes_a_figure_of_pyplot_is_made(draw):
    before = set(pyplot.get_fignums())
    made = draw(None)
    assert isinstance(made, Axes)
    assert len(set(pyplot.get_fignums()) - before) == 1
    pyplot.close(made.figure)


def test_colours_can_be_told_apart_by_colour_blind_readers():
    """All are of the palette of Okabe and Ito (2008)."""
    palette = {"#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7"}
    assert set(plotting.COLOURS) <= palette
    assert len(set(plotting.COLOURS)) == len(set(plotting.MARKERS)) == 7


# --- time courses -------------------------------------------------------------------------------------------


def test_time_course_labels(ax):
    plotting.plot_time_course(course([0.0, 1.0, 2.0]), ax=ax)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("time (min)", "value (nM)")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["A", "B"]


def test_time_course_of_different_units_says_them_in_the_legend(ax):
    plotting.plot_time_course(course([0.0, 1.0], ("nM", "uM")), ax=ax)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["A (nM)", "B (µM)"]


def test_time_course_leaves_out_infinite_time(ax):
    plotting.plot_time_course(course([0.0, 1.0, np.inf]), ["A"], ax=ax)
    assert_allclose(ax.lines[0].get_xdata(), [0.0, 1.0])
    with pytest.raises(InputError, match="finite time"):
        plotting.plot_time_course(course([np.inf]), ax=ax)


def test_unknown_observable(ax):
    with pytest.raises(UnknownName):
        plotting.plot_time_course(course([0.0, 1.0]), ["Z"], ax=ax)


# --- dose-response ------------------------------------------------------------------------------------------


def test_dose_zero_stands_left_of_the_lowest_dose_and_is_called_0(ax):
    plotting.plot_dose_response(curve(), ax)
    places = ticks(ax)
    assert places["0"] < 0.01
    assert {"0.01", "0.1", "1", "10", "100"} <= set(places)
    assert ax.get_xscale() == "log"
    alone = [line for line in ax.lines if list(line.get_xdata()) == [places["0"]]]
    assert len(alone) == 1 and list(alone[0].get_ydata()) == [0.0]


def test_without_dose_zero_there_is_no_such_tick(ax):
    plotting.plot_dose_response(curve(doses=DOSES[1:]), ax)
    assert "0" not in ticks(ax)


def test_very_small_doses_are_written_as_powers(ax):
    plotting.plot_dose_response(curve(1e-8, doses=np.geomspace(1e-10, 1e-6, 9)), ax)
    assert "$10^{-8}$" in ticks(ax)


def test_the_curve_is_drawn_at_its_doses(ax):
    plotting.plot_dose_response(curve(), ax)
    assert_allclose(
        ax.lines[-2].get_xdata() if len(ax.lines[-1].get_xdata()) == 1 else ax.lines[-1].get_xdata(), DOSES[1:]
    )


def test_points_with_error_bars_and_a_band(ax):
    points = plotting.MeasuredPoints(np.array([0.0, 1.0]), np.array([2.0, 50.0]), np.array([1.0, 5.0]))
    one = curve()
    plotting.plot_dose_response(one, ax, points=points, band=(0.9 * one.responses, 1.1 * one.responses))
    (container,) = ax.containers
    assert_allclose(container[0].get_ydata(), [2.0, 50.0])
    low, high = container[2][0].get_segments()[1][:, 1]
    assert_allclose([low, high], [45.0, 55.0])
    assert len(ax.collections) >= 2  # the band and the bars


@pytest.mark.parametrize("change", [{"dose_unit": "nM"}, {"response_unit": "%"}, {"target": "IL15"}])
def test_curves_that_cannot_share_axes_are_refused(ax, change):
    with pytest.raises(InputError, match="need the same"):
        plotting.plot_dose_response([curve(), curve(**change)], ax)


def test_points_of_different_lengths_are_refused():
    with pytest.raises(InputError, match="one length"):
        plotting.MeasuredPoints(np.array([1.0, 2.0]), np.array([1.0]))


def test_nothing_to_draw_is_refused(ax):
    with pytest.raises(InputError):
        plotting.plot_dose_response([], ax)
    with pytest.raises(InputError, match="above 0"):
        plotting.plot_dose_response(curve(doses=np.array([0.0])), ax)


def test_names_are_taken_literally(ax):
    """A dollar sign would start mathematics, and a broken formula would stop the drawing."""
    plotting.plot_dose_response(curve(label="$\\frac{\x00", readout="a$b"), ax)
    assert "<svg" in plotting.to_svg(ax)
    assert ax.get_ylabel() == r"a\$b (nM)"


# --- shift --------------------------------------------------------------------------------------------------


def annotations(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.texts if text.get_text()]


def test_shift_is_written_as_computed(ax):
    plotting.plot_shift(curve(1.0, label="control"), curve(10.0, label="drug"), ax)
    assert annotations(ax) == ["10-fold"]  # EC50 1 and 10
    assert "EC50 1 to 10 ng/ml" in ax.get_title()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["control", "drug"]


def test_a_shift_that_cannot_be_given_gets_no_arrow(ax):
    plotting.plot_shift(curve(1.0), curve(1e4), ax)
    assert annotations(ax) == ["no EC50 shift can be given from these doses"]
    assert ax.get_title() == ""


# --- dose matrices and files --------------------------------------------------------------------------------


def test_matrix_has_doses_as_labels_and_values_in_cells(ax):
    plotting.plot_dose_matrix(MATRIX, ax)
    assert [text.get_text() for text in ax.get_xticklabels()] == ["0", "1", "1000"]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["0", "5"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("IL7 (ng/ml)", "Imatinib (µM)")
    cells = {text.get_position(): text.get_text() for text in ax.texts}
    assert cells[(2, 1)] == "5" and cells[(0, 0)] == "0"  # responses[2, 1] and [0, 0]


def test_matrix_with_a_missing_value(ax):
    values = MATRIX.responses.copy()
    values[0, 0] = np.nan
    plotting.plot_dose_matrix(replace(MATRIX, responses=values), ax)
    assert "none" in annotations(ax)


def test_files(ax, tmp_path):
    plotting.plot_dose_response(curve(), ax)
    for name, magic in (("a.png", b"\x89PNG"), ("a.svg", b"<?xml"), ("a.PDF", b"%PDF")):
        plotting.save(ax, tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(magic)
    with pytest.raises(InputError, match=r"\.bmp"):
        plotting.save(ax, tmp_path / "a.bmp")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.PDF", "a.png", "a.svg"]


def test_the_same_figure_is_the_same_svg():
    def text() -> str:
        return plotting.to_svg(plotting.plot_shift(curve(), curve(10.0), plotting.new_axes()))

    assert text() == text()
    assert "<dc:date>" not in text()


def test_the_interval_of_a_shift_is_a_bar_and_stands_in_the_title(ax):
    plotting.plot_shift(curve(), curve(10.0), ax, interval=(8.0, 13.0))
    bar = [line for line in ax.lines if len(line.get_xdata()) == 2 and line.get_linewidth() == 5.0]
    assert len(bar) == 1
    assert_allclose(bar[0].get_xdata(), [8.0, 13.0], rtol=1e-4)  # the control's EC50 is 1
    assert "(x 8 to 13)" in ax.get_title()
    with pytest.raises(InputError, match="0 < lower <= upper"):
        plotting.plot_shift(curve(), curve(10.0), interval=(2.0, 1.0))


def test_a_changed_maximum_has_an_arrow_of_its_own(ax):
    def arrows(drawn: Axes) -> int:
        return sum(getattr(text, "arrow_patch", None) is not None for text in drawn.texts)

    assert arrows(plotting.plot_shift(curve(), curve(10.0), ax)) == 1
    assert arrows(plotting.plot_shift(curve(), curve(10.0, top=50.0), plotting.new_axes())) == 2
