"""What arms show for many parameter sets at once: requests are collected first, then run as one batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fits.steroid.arms import EQUILIBRATION, Arm, Cells, FloatArray
from fits.steroid.criteria import Recorder
from kinetics.batch import Batch
from kinetics.errors import InputError

LANES = 4000  # in one batch: more brings nothing, and memory stays flat
_Key = tuple[Arm, str, float]


def requests(*questions: Callable[[Cells], object]) -> tuple[_Key, ...]:
    """What these functions ask of a `Cells`, each request once.  They must not depend on the answers."""
    recorder = Recorder()
    with np.errstate(all="ignore"):
        for question in questions:
            question(recorder)
    return tuple(dict.fromkeys((arm, quantity, time) for arm, quantity, times in recorder.asked for time in times))


@dataclass(frozen=True)
class Answers:
    """A `Cells` for the parameter sets that were run; knows what was asked beforehand and nothing else."""

    values: Mapping[_Key, FloatArray]

    def __call__(self, arm: Arm, quantity: str, hours: float | Sequence[float]) -> FloatArray:
        if np.ndim(hours) == 0:
            return self._one(arm, quantity, float(np.asarray(hours)))
        return np.stack([self._one(arm, quantity, float(time)) for time in np.asarray(hours)], axis=1)

    def _one(self, arm: Arm, quantity: str, hours: float) -> FloatArray:
        try:
            return self.values[arm, quantity, hours]
        except KeyError:
            raise InputError(f"{quantity!r} at {hours:g} h of {arm} was not among the requests") from None


class Plan:
    """A fixed list of requests, ready to be run for any parameter sets."""

    def __init__(self, batch: Batch, asked: Iterable[_Key]) -> None:
        self.batch = batch
        by_arm: dict[Arm, tuple[set[str], set[float]]] = {}
        for arm, quantity, hours in asked:
            quantities, times = by_arm.setdefault(arm, (set(), set()))
            quantities.add(quantity)
            times.add(hours)
        # Arms that are read at the same times run together.
        groups: dict[tuple[float, ...], list[Arm]] = {}
        for arm, (_, times) in by_arm.items():
            groups.setdefault(tuple(sorted(times)), []).append(arm)
        self.groups = {times: tuple(arms) for times, arms in groups.items()}
        self.quantities = tuple(sorted({quantity for quantities, _ in by_arm.values() for quantity in quantities}))
        self.backgrounds = tuple(sorted({arm.background for arm in by_arm}))

    @property
    def arms(self) -> int:
        """How many arms are simulated."""
        return sum(len(arms) for arms in self.groups.values())

    def run(self, sets: Mapping[str, FloatArray], *, rtol: float = 1e-4) -> Answers:
        """All requests for parameter sets given as arrays by name, each of shape ``(sets,)``."""
        count = len(next(iter(sets.values())))
        most = max(1, LANES // max(1, max(len(self.backgrounds), *(len(arms) for arms in self.groups.values()))))
        parts = []
        for begin in range(0, count, most):
            part = slice(begin, begin + most)
            parts.append(self._run({name: np.asarray(values)[part] for name, values in sets.items()}, rtol))
        return Answers({key: np.concatenate([part[key] for part in parts]) for key in parts[0]})

    def _run(self, sets: Mapping[str, FloatArray], rtol: float) -> dict[_Key, FloatArray]:
        count = len(next(iter(sets.values())))
        atol = 1e-2 * rtol  # nM and fractions of cells: nothing below matters
        lanes = self._lanes([Arm(background) for background in self.backgrounds], sets, count)
        lanes["death_on"] = np.zeros(len(self.backgrounds) * count)
        start = self.batch.initial(lanes, len(self.backgrounds) * count)
        _, calm = self.batch.run(start, lanes, (EQUILIBRATION,), (), rtol=rtol, atol=atol)
        calm = calm.reshape(len(calm), len(self.backgrounds), count)
        found: dict[_Key, FloatArray] = {}
        for times, arms in self.groups.items():
            lanes = self._lanes(arms, sets, count)
            lanes["death_on"] = np.ones(len(arms) * count)
            where = [self.backgrounds.index(arm.background) for arm in arms]
            begin = calm[:, where].reshape(len(calm), -1)
            read, _ = self.batch.run(begin, lanes, times, self.quantities, rtol=rtol, atol=atol)
            table = read.reshape(len(self.quantities), len(times), len(arms), count)
            for i, quantity in enumerate(self.quantities):
                for j, time in enumerate(times):
                    found.update(((arm, quantity, time), table[i, j, k]) for k, arm in enumerate(arms))
        return found

    def _lanes(self, arms: Sequence[Arm], sets: Mapping[str, FloatArray], count: int) -> dict[str, FloatArray]:
        """Values by name with a number per lane, arms outside and sets inside; backgrounds win over sets."""
        lanes = {name: np.tile(np.asarray(values, dtype=float), len(arms)) for name, values in sets.items()}
        settings = [{**dict(arm.background), **dict(arm.drugs)} for arm in arms]
        defaults = self.batch.equations.defaults()
        for name in sorted({name for setting in settings for name in setting}):
            column = np.reshape(lanes.get(name, np.full(len(arms) * count, defaults[name])), (len(arms), count))
            column = np.array(column)
            for row, setting in enumerate(settings):
                if name in setting:
                    column[row] = setting[name]
            lanes[name] = column.reshape(-1)
        return lanes
