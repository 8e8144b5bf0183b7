"""In how many parameter sets the claims about T-cell numbers hold: log-uniform draws over the declared ranges.

The ranges (``ranges_tcell.toml``) were committed before the first draw.  Every draw goes through the experiments and
criteria that give the verdicts, integrated together by `kinetics.batch`.  The signalling model keeps its values:
drawn are the constants of the T-cell model and the exposures, so a share says nothing about how sure the signalling
model is.

``python -m fits.claims.draws`` prints the shares.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from fits.claims import homeostasis, joined, tcells
from fits.claims.bench import Bench
from fits.claims.checking import bundled_models
from fits.claims.imatinib import bcl2_rises, erk_left, first_step
from fits.claims.ledger import MODELS, declared_ranges, find_claim
from fits.claims.verdict import Share
from kinetics.batch import Batch
from kinetics.errors import InputError

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

NUMBER, SEED = 2000, 20170407  # draws; the seed is the day on which the imatinib paper appeared
WHAT = "log-uniform draws over the declared ranges"


@dataclass(frozen=True)
class Draws:
    """In which draws each claim holds."""

    holding: Mapping[str, BoolArray]  # claim -> (n_draws,)
    values: Mapping[str, FloatArray]  # parameter -> (n_draws,)
    numbers: Mapping[str, FloatArray]  # what the criteria read -> (n_draws,)
    seed: int

    @property
    def size(self) -> int:
        return len(next(iter(self.holding.values())))

    def share(self, claim: str) -> Share:
        """The share in which one claim holds."""
        return Share(int(np.sum(self.holding[claim])), self.size, WHAT)

    def together(self, claims: Sequence[str]) -> Share:
        """The share in which several claims hold at once."""
        held = np.logical_and.reduce([self.holding[claim] for claim in claims])
        return Share(int(np.sum(held)), self.size, WHAT)

    @property
    def core(self) -> tuple[str, ...]:
        return tuple(claim for claim in self.holding if find_claim(claim).priority == "core")

    def sentences(self) -> list[str]:
        """What to say of all of them together."""
        core, every = self.together(self.core), self.together(tuple(self.holding))
        without = [claim for claim in self.holding if claim != "X06"]
        empty = int(np.sum(self.numbers["smallest_supply"] < 0.0))
        return [
            f"All {len(self.core)} core claims about T-cell numbers together ({', '.join(self.core)}): {core.words()}.",
            f"All {len(without)} claims and controls about them but X06, whose first step fails in the signalling "
            f"model: {self.together(without).words()}; with it {every.holding}.",
            f"{empty} draws allow no healthy steady state, because division exceeds death; claims about patients count "
            f"as not holding in them. Seed {self.seed}.",
        ]


def sample(number: int = NUMBER, seed: int = SEED) -> dict[str, FloatArray]:
    """Values by name, shape ``(number,)`` each, log-uniform and independent.

    Raises:
        InputError: fewer than one draw is asked for.
    """
    if number < 1:
        raise InputError(f"the number of draws must be at least 1 (``--draws 0`` leaves them out), got {number}")
    ranges = declared_ranges(MODELS["M3"])
    rng = np.random.default_rng(seed)
    table = rng.random((number, len(ranges)))
    lower, upper = (np.log([getattr(item, end) for item in ranges.values()]) for end in ("lower", "upper"))
    values = np.exp(lower + table * (upper - lower))
    return {name: values[:, k] for k, name in enumerate(ranges)}


def draw(bench: Bench, number: int = NUMBER, seed: int = SEED) -> Draws:
    """Draw and see which claims hold; about 15 s for 2,000 draws.

    Raises:
        NotAnswered: one of the two models is not on the bench.
    """
    base = homeostasis.setting_of(bench)
    values = sample(number, seed)
    setting = tcells.Setting(values, base.fixed, base.laws, base.other_memory, base.effect, base.in_vitro)
    model = bench.model("M3")
    runs = tcells.BatchRuns(model)
    limits = {claim: find_claim(claim).thresholds for claim in homeostasis.CRITERIA}
    per_mass = float(model.entity("IL7_per_mass").value or 0.0)
    batch = Batch(model)
    supply = tcells.supplies(batch, setting)
    healthy = supply >= 0.0
    numbers: tcells.Numbers = {
        **tcells.transfer(runs, setting),
        **tcells.rates(batch, setting),
        **tcells.tcr_in_vivo(setting),
        "in_vitro": np.full(number, erk_left(bench)),
    }
    if np.any(
        healthy
    ):  # without a healthy steady state there is no patient, and its numbers stay NaN, which holds nothing
        numbers |= {
            name: _scattered(value, healthy)
            for name, value in _of_patients(runs, setting.only(healthy), per_mass, limits).items()
        }
    numbers["smallest_supply"] = supply
    numbers |= joined.proliferation_numbers(bench, setting)
    holding = {claim: criterion(numbers, limits[claim]) for claim, criterion in sorted(homeostasis.CRITERIA.items())}
    for claim, fixed in (("B11", bcl2_rises(bench)[0]), ("X06", first_step(bench, limits["X06"])[0])):
        holding[claim] = holding[claim] & fixed
    return Draws(MappingProxyType(holding), MappingProxyType(values), MappingProxyType(numbers), seed)


def _of_patients(
    runs: tcells.BatchRuns, setting: tcells.Setting, per_mass: float, limits: Mapping[str, Mapping[str, float]]
) -> tcells.Numbers:
    numbers, patient = tcells.cohort(runs, setting)
    return {
        **numbers,
        **tcells.therapy(runs, patient, per_mass, limits["B20"]["times_IL7"], limits["B20"]["weeks"]),
        **tcells.lymphopenia(runs, patient, limits["B22"]["lower_production"]),
    }


def _scattered(values: FloatArray, places: BoolArray) -> FloatArray:
    """Values at the places of a mask, NaN elsewhere."""
    whole = np.full(len(places), np.nan)
    whole[places] = values
    return whole


def main(arguments: Sequence[str] | None = None, write: Callable[[str], object] = sys.stdout.write) -> int:
    """Print in how many draws each claim holds."""
    parser = argparse.ArgumentParser(prog="python -m fits.claims.draws", description=main.__doc__)
    parser.add_argument("--draws", type=int, default=NUMBER)
    parser.add_argument("--seed", type=int, default=SEED)
    given = parser.parse_args(arguments)
    found = draw(Bench({model.name: model for model in bundled_models()}), given.draws, given.seed)
    for claim in found.holding:
        write(f"{claim}  {found.share(claim).words()}\n")
    for sentence in found.sentences():
        write(f"{sentence}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
