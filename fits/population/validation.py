"""Cross-validation over samples: fit on some, predict the others, count what lies inside."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from fits.population.calibration import PopulationFit, calibrate
from fits.population.prediction import SETS, Coverage, Predicted, Predictor, raw_spread
from fits.population.problem import PopulationProblem
from kinetics.errors import InputError

FOLDS = 4


@dataclass(frozen=True)
class Validation:
    """Predicted wells of all samples, each from a fit that had not seen its sample."""

    alone: tuple[Predicted, ...]  # from the population alone
    given: tuple[Predicted, ...]  # with one dose of the sample given
    raw: tuple[tuple[Coverage, float], ...]  # by fold: the training wells' own spread, and the bands' mean width there

    def by_drug(self) -> dict[str, tuple[Coverage, Coverage | None]]:
        """Coverage by drug, alone and with a dose given."""
        drugs = sorted({item.well.drug for item in self.alone})
        return {drug: (Coverage.of(_under(self.alone, drug)), _of(self.given, drug)) for drug in drugs}


def _of(predicted: Iterable[Predicted], drug: str) -> Coverage | None:
    chosen = _under(predicted, drug)
    return Coverage.of(chosen) if chosen else None


def _under(predicted: Iterable[Predicted], drug: str) -> list[Predicted]:
    return [item for item in predicted if item.well.drug == drug]


def folds_of(samples: Sequence[str], folds: int, seed: int) -> list[tuple[str, ...]]:
    """Samples dealt out at random into folds of nearly equal size.

    Raises:
        InputError: fewer than 2 folds, or fewer samples than folds.
    """
    if not 2 <= folds <= len(samples):
        raise InputError(f"cross-validation needs 2 to {len(samples)} folds for {len(samples)} samples, got {folds}")
    order = np.random.default_rng(seed).permutation(len(samples))
    shuffled = [sorted(samples)[i] for i in order]
    return [tuple(sorted(shuffled[i::folds])) for i in range(folds)]


def cross_validate(
    problem: PopulationProblem, found: PopulationFit, *, folds: int = FOLDS, seed: int = 0, sets: int = SETS,
    say: Callable[[str], None] = lambda text: None,
) -> Validation:
    """Fit on all samples but those of a fold and predict these, for each fold.

    The searches begin at the estimates from all samples, which affects where they begin and not where they end.

    Args:
        sets: draws of the shared parameters; 1 leaves their uncertainty out.
        say: is told what is going on.

    Raises:
        InputError: the folds make no sense.
        SimulationError: a fit failed.
    """
    alone: list[Predicted] = []
    given: list[Predicted] = []
    raw = []
    parts = folds_of(problem.samples, folds, seed)
    for number, held in enumerate(parts):
        kept = problem.of(tuple(sample for sample in problem.samples if sample not in held))
        left = problem.of(held)
        say(f"fold {number + 1} of {folds}: fitting {len(kept.samples)} samples, predicting {', '.join(held)}")
        fitted = calibrate(kept, start=found.x)
        predictor = Predictor(kept, fitted, {(well.drug, well.dose) for well in left.wells}, seed=seed, sets=sets)
        alone += predictor.bands(left.wells)
        mine = [
            item for sample in held for item in predictor.bands_given([w for w in left.wells if w.sample == sample])
        ]
        given += mine
        spread = raw_spread(kept.wells, mine)
        if spread is not None:
            raw.append((spread[0], float(np.mean(spread[1]))))
    return Validation(tuple(alone), tuple(given), tuple(raw))
