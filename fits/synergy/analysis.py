"""Scores, surfaces and tests of a dose matrix: ``synergy(combination)`` is all of it.

The noise of a well is estimated once (`replicates`).  Bootstrap sets are wells drawn anew around the fitted
single-agent curves and the observed cell means (for intervals), or around what a reference expects (for its test).
All of them are analysed as the data were, noise estimate included, and what is compared is each time divided by it:
a bootstrap-t, which stays honest where the noise is known from a few wells only.
Set ``i`` depends on the seed and ``i`` alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from fits.bootstrap import Bootstrap
from fits.synergy import references
from fits.synergy.batch import fit_many
from fits.synergy.flat import flatness
from fits.synergy.margins import PARAMETERS, Margins, bounds, curves_of, fit_margins, measured_margins
from fits.synergy.outcome import Parameter, Score, SurfaceFit, SynergyResult
from fits.synergy.replicates import Noise, estimate_noise, lack_of_fit, sigmas, stated_noise
from fits.synergy.surfaces import SURFACES, Surface, fit_surface
from fits.synergy.wells import Combination, from_matrix
from kinetics.dosing import DoseMatrix
from kinetics.errors import InputError, UnknownName

FloatArray = npt.NDArray[np.float64]

SCORES = ("bliss", "hsa", "loewe", "zip")
MODELS = (*SCORES, *SURFACES)
NAMES = {"bliss": "Bliss", "hsa": "HSA", "loewe": "Loewe", "zip": "ZIP"}
ALIKE = 0.01  # p-value below which fitted single-agent curves are said to miss their wells


def synergy(
    data: Combination | DoseMatrix,
    models: Sequence[str] = MODELS,
    *,
    margins: str = "",
    noise: float | None = None,
    n: int = 500,
    seed: int = 0,
    level: float = 0.95,
) -> SynergyResult:
    """Is there synergy, by how much, and could it be noise?

    Args:
        data: wells, or a simulated dose matrix (for responses that rise use `wells.from_matrix`).
        models: of ``bliss, hsa, loewe, zip, musyc, braid``.
        margins: ``"hill"``: fitted curves of each drug alone; ``"measured"``: the single-agent wells as they are (Bliss
            and HSA only).  By default fitted for measured data, as they are for a simulated matrix.
        noise: the standard deviation of a well in parts of the untreated response, where the wells do not tell it.
        n: bootstrap sets; 0 for scores without intervals.
        level: of the intervals.

    Raises:
        UnknownName, InputError: a model or setting has no meaning, or the matrix cannot be analysed at all.  What
            single models cannot do stands in the ``notes`` of the result.
    """
    combination = from_matrix(data) if isinstance(data, DoseMatrix) else data
    _check(models, margins, noise, n, level)
    chosen = margins or ("measured" if combination.exact and combination.counts[0, 0] else "hill")
    notes = list(combination.notes)
    if combination.holes:
        notes.append(
            f"{combination.holes} of {combination.counts[1:, 1:].size} combinations were not measured; means are over "
            "the others."
        )
    plain = measured_margins(combination) if chosen == "measured" else None
    hill: Margins | None = None
    try:
        hill = fit_margins(combination)
    except InputError as error:
        if plain is None:
            raise
        notes.append(f"Loewe, ZIP, MuSyC and BRAID could not be estimated: {error}.")
    if hill is not None and combination.exact and any(model not in ("bliss", "hsa") for model in models):
        notes.append(_misfit(combination, hill))
    if not combination.counts[0, 0]:
        assert hill is not None  # measured margins refuse such a matrix
        notes.append(_extrapolated(combination, hill))
    spread = _noise(combination, hill or plain, noise)
    known = hill or plain
    assert known is not None
    flat = flatness(combination, known, spread)
    if flat.note:
        notes.append(flat.note)
    if flat.nothing:
        return SynergyResult(combination, {}, {}, plain or hill, spread, chosen, level, 0, seed, tuple(notes))
    boot = n if spread is not None else 0
    if spread is None:
        why = (
            "The matrix is simulated and has no replicate noise" if combination.exact
            else "Neither equal wells nor residuals are enough to estimate the noise of a well"
        )  # fmt: skip
        notes.append(f"{why}: no intervals, no tests; pass noise=0.05, say, for wells that vary by 5 %.")
    elif hill is not None and chosen == "hill" and lack_of_fit(combination, hill, spread) < ALIKE:
        notes.append(
            "The fitted curves of the drugs alone miss their wells by more than equal wells differ: scores may show "
            "that misfit rather than interaction; margins='measured' takes the single-agent wells as they are."
        )
    elif combination.exact:
        notes.append(
            "The matrix is exact: the tests say whether one experiment with the stated noise would show as much."
        )
    scores, fits = {}, {}
    for model in models:
        if hill is None and model not in ("bliss", "hsa"):
            continue
        if model in SURFACES:
            found = _surface(SURFACES[model], combination, spread, boot, seed, level, notes)
            if found is not None:
                fits[model] = found
            continue
        use = plain if plain is not None and model in ("bliss", "hsa") else hill
        assert use is not None
        scores[model] = _score(model, combination, use, hill or use, spread, boot, seed, level)
    if hill is not None and "loewe" in scores:
        notes += _inert(combination, hill)
    return SynergyResult(
        combination, scores, fits, hill if plain is None else plain, spread, chosen, level, boot, seed, tuple(notes)
    )


def _check(models: Sequence[str], margins: str, noise: float | None, n: int, level: float) -> None:
    for model in models:
        if model not in MODELS:
            raise UnknownName("model of no interaction", model, MODELS)
    if not models:
        raise InputError(f"expected at least one of {', '.join(MODELS)}, got none")
    if margins not in ("", "hill", "measured"):
        raise InputError(f"margins must be 'hill' or 'measured', got {margins!r}")
    if noise is not None and not 0.0 < noise < 10.0:
        raise InputError(f"noise is a standard deviation in parts of the untreated response, as 0.05, got {noise:g}")
    if n != 0 and n < 19:
        raise InputError(f"n must be 0 or at least 19, the fewest sets that can show p = 0.05, got {n}")
    if not 0.0 < level < 1.0:
        raise InputError(f"level must lie between 0 and 1, got {level}")


def _noise(data: Combination, margins: Margins | None, stated: float | None) -> Noise | None:
    if stated is not None:
        return stated_noise(stated)
    assert margins is not None
    return estimate_noise(data, margins)


def _misfit(data: Combination, hill: Margins) -> str:
    count = int(np.sum((data.dose1 == 0.0) | (data.dose2 == 0.0)))
    rms = float(np.sqrt(hill.squares[0] / count))
    return (
        f"Loewe, ZIP, MuSyC and BRAID use Hill curves for the drugs alone; these miss the simulated ones by {rms:.2g} "
        "of the untreated response (root mean square)."
    )


def _extrapolated(data: Combination, hill: Margins) -> str:
    level = data.full_effect + float(hill.untreated[0]) * (data.untreated - data.full_effect)
    return (
        f"No well is without drugs: the untreated level, to which every response is relative, was extrapolated from "
        f"the fitted curves of the drugs alone ({level:.3g})."
    )


def _inert(data: Combination, hill: Margins) -> list[str]:
    plateaus = hill.parameters[0, 1:3] / hill.parameters[0, 0]
    return [
        f"{drug} alone does not lower the unaffected fraction (plateau {plateau:.3g}): Loewe takes it as inert."
        for drug, plateau in zip(data.drugs, plateaus, strict=True)
        if plateau >= 1.0
    ]


def draws(n: int, wells: int, seed: int) -> FloatArray:
    """Standard normal numbers, a row per bootstrap set; row ``i`` depends on the seed and ``i`` alone."""
    return np.array([np.random.default_rng((seed, i)).standard_normal(wells) for i in range(n)]).reshape(n, wells)


# --- scores -------------------------------------------------------------------------------------------------


def _reference(model: str, data: Combination, margins: Margins) -> FloatArray:
    if model == "hsa":
        return references.hsa(margins)
    if model == "loewe":
        return references.loewe(data, margins)
    return references.bliss(margins)


def excess_of(model: str, data: Combination, sets: FloatArray, margins: Margins) -> tuple[FloatArray, FloatArray]:
    """Expected fractions ``(n_sets, n_first, n_second)``, and the excess at doses above 0, smaller by the margins."""
    observed = data.cell_means(sets) / margins.untreated[:, None, None]
    expected = _reference(model, data, margins)
    if model == "zip":
        fitted = references.zip_response(data, margins, observed)
        observed = np.where(np.isfinite(observed), fitted, np.nan)
    return expected, (expected - observed)[:, 1:, 1:]


def _score(
    model: str, data: Combination, margins: Margins, curves: Margins, noise: Noise | None, n: int, seed: int,
    level: float,
) -> Score:  # fmt: skip
    """``margins`` make the reference; ``curves`` are what the noise was estimated about."""
    expected, excess = excess_of(model, data, data.unaffected[None, :], margins)
    first, cells = expected[0], excess[0]
    known = np.isfinite(cells)
    if not np.any(known):
        raise InputError(f"{NAMES[model]}: no combination has both single agents beside it, so nothing can be expected")
    mean = float(np.mean(cells[known]))
    empty = np.full(cells.shape, np.nan)
    unknown = Score(
        NAMES[model], data.first, data.second, first, cells, empty, empty, empty, mean, np.nan, np.nan, np.nan
    )  # fmt: skip
    if noise is None or not n:
        return unknown
    refit, about = _refit(data, margins), _refit(data, curves)

    def spread(sets: FloatArray, again: Margins) -> FloatArray:
        separate = curves is not margins and not noise.equal
        return sigmas(data, sets, about(sets) if separate else again, noise)[:, None, None]

    # Around what was seen for the intervals, around what is expected for the test; the same draws for both.
    seen = _centre(data, margins, data.cell_means(data.unaffected[None, :])[0])
    null = _null(model, data, margins, first)
    errors = draws(n, data.response.size, seed)
    sets = seen + errors * noise.deviations(seen)
    again = refit(sets)
    moved = (excess_of(model, data, sets, again)[1] - cells) / spread(sets, again)
    sets = null + errors * noise.deviations(null)
    again = refit(sets)
    flat = excess_of(model, data, sets, again)[1] / spread(sets, again)
    means, nulls = np.mean(moved[:, known], axis=1), np.mean(flat[:, known], axis=1)
    tail = 0.5 * (1.0 - level)
    middle_mean = float(np.mean(means))  # of a bias, which is taken off
    # Half of the width: as around what was seen or as without interaction, whichever is wider; the curves of the drugs
    # alone, of which the first kind is drawn, are themselves uncertain.
    half = max(float(np.quantile(np.abs(drawn - np.mean(drawn)), level)) for drawn in (means, nulls)) * noise.sigma
    ends = [mean - noise.sigma * middle_mean - half, mean - noise.sigma * middle_mean + half]
    low, high = (cells - noise.sigma * np.quantile(moved, q, axis=0) for q in (1.0 - tail, tail))
    centre = float(np.mean(nulls))
    p_mean = _p(abs(mean / noise.sigma - centre), np.abs(nulls - centre))
    middle, width = np.mean(flat, axis=0), np.std(flat, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        z, z_null = np.abs(cells / noise.sigma - middle) / width, np.abs(flat - middle) / width
    largest = np.max(np.where(known, z_null, -np.inf), axis=(1, 2))
    p_cells = np.where(known, (1 + np.sum(largest[:, None, None] >= z, axis=0)) / (n + 1), np.nan)
    return Score(
        NAMES[model], data.first, data.second, first, cells, low, high, p_cells, mean, ends[0], ends[1], p_mean
    )  # fmt: skip


def _null(model: str, data: Combination, margins: Margins, expected: FloatArray) -> FloatArray:
    """The mean of every well without interaction: the reference fitted to all wells, combinations included.

    Under the hypothesis that is tested combinations tell about the curves of the drugs alone as well; curves from the
    single-agent wells only would be uncertain enough to show in the rate of false alarms.
    """
    if not margins.hill:
        return _centre(data, margins, expected * margins.untreated[0])
    i, j = data.cell

    def response(x: FloatArray, _rows: npt.NDArray[np.int64]) -> FloatArray:
        one, two = curves_of(data, x)
        at = Margins(x[:, 0], one / x[:, :1], two / x[:, :1], x, np.zeros(len(x)))
        return np.asarray(_reference(model, data, at)[:, i, j] * x[:, :1])

    found, _ = fit_many(response, margins.parameters, data.unaffected[None, :], *bounds(data))
    return np.asarray(response(found, np.array([0]))[0])


def _p(value: float, drawn: FloatArray) -> float:
    return float((1 + np.sum(drawn >= value)) / (1 + len(drawn)))


def _refit(data: Combination, margins: Margins) -> Callable[[FloatArray], Margins]:
    if margins.hill:
        return lambda sets: fit_margins(data, sets, margins)
    return lambda sets: measured_margins(data, sets)


def _centre(data: Combination, margins: Margins, both: FloatArray) -> FloatArray:
    """The mean of every well: single agents on their curves, combinations in ``both``; unaffected fractions."""
    i, j = data.cell
    single = np.where(j == 0, margins.first[0][i], margins.second[0][j]) * margins.untreated[0]
    return np.where((i > 0) & (j > 0), both[i, j], single)


# --- surfaces -----------------------------------------------------------------------------------------------


def _surface(
    surface: Surface, data: Combination, noise: Noise | None, n: int, seed: int, level: float, notes: list[str]
) -> SurfaceFit | None:
    wells = data.response.size
    if wells <= surface.size + 1:
        notes.append(
            f"{surface.name} could not be estimated: it has {surface.size} parameters and there are {wells} wells."
        )
        return None
    fitted = fit_surface(surface, data)
    one, two = np.meshgrid(data.first, data.second, indexing="ij")
    shape = one.shape

    def on_grid(x: FloatArray) -> FloatArray:
        return surface.response(x, one.ravel(), two.ravel()).reshape(len(x), *shape) / x[:, :1, None]

    rms = float(np.sqrt(fitted.full_squares[0] / wells))
    values = surface.reported(fitted.full)[0]
    # Without interaction: the same drugs alone, not the best fit without, which bends them to hide the interaction.
    predicted, neutral = on_grid(fitted.full)[0], on_grid(fitted.full[:, :PARAMETERS])[0]
    low, high = np.full(shape, np.nan), np.full(shape, np.nan)
    parameters = [Parameter(name, float(v), np.nan, np.nan, z)
                  for name, v, z in zip(surface.own, values, surface.neutral, strict=True)]  # fmt: skip
    p = np.nan
    if noise is not None and n:
        errors = draws(n, wells, seed)
        # The noise of the test is that of the surface's own residuals: F compares with nothing else.
        # A stated noise is taken as stated, for statistic and draws alike.
        stated = noise.sigma if not noise.freedom else None
        relative = noise.deviations(data.unaffected) / noise.sigma
        left = float(np.sqrt(fitted.full_squares[0] / (wells - surface.size) / np.mean(relative**2)))
        sigma = stated or left
        full = surface.response(fitted.full, data.dose1, data.dose2)[0]
        null = surface.response(fitted.null, data.dose1, data.dose2)[0]

        def drawn(centre: FloatArray) -> FloatArray:
            return centre + errors * sigma * noise.deviations(centre) / noise.sigma

        nulls = fit_surface(surface, data, drawn(null), fitted).statistic(surface, wells, stated)
        p = _p(float(fitted.statistic(surface, wells, stated)[0]), nulls)
        around = fit_surface(surface, data, drawn(full), fitted)
        reported = surface.reported(around.full)
        good = np.all(np.isfinite(reported), axis=1)
        tail = 0.5 * (1.0 - level)
        if np.sum(good) >= 2 and np.all(np.isfinite(values)):
            found = Bootstrap(surface.own, values, reported[good], around.full_squares[good], (), seed)
            parameters = [
                Parameter(name, float(v), *surface.opened(k, *found.interval(name, level)), z)
                for k, (name, v, z) in enumerate(zip(surface.own, values, surface.neutral, strict=True))
            ]
        low, high = np.quantile(on_grid(around.full), [tail, 1.0 - tail], axis=0)
    return SurfaceFit(
        surface.name, data.first, data.second, tuple(parameters), predicted, low, high, neutral - predicted, rms, p,
        surface.equation,
    )  # fmt: skip
