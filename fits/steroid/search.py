"""The search for parameter sets of the steroid model that keep every core claim and fit the samples.

``python -m fits.steroid.search`` makes ``sbml/ensembles/gc_bim_tall.csv`` and ``.json`` anew.  The rule is
`acceptance.toml`, the ranges are those of the claims; both were written before the first search.  Each search starts
from the best of its own random draws, climbs with CMA-ES until no hinge is left, and walks about within what it has
found.  A set is accepted at the tight tolerance, with the engine, only.
"""

from __future__ import annotations

import argparse
import csv
import functools
import json
import sys
import time
import tomllib
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from importlib import resources
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

import kinetics as kin
from fits.claims.ledger import declared_ranges
from fits.provenance import collect
from fits.steroid.arms import MODEL, Cells, FloatArray
from fits.steroid.criteria import CORE, NOISE, REALISM, Criterion, evaluate
from fits.steroid.laboratory import Laboratory
from fits.steroid.many import Plan, requests
from fits.steroid.misfit import misfit
from kinetics.batch import Batch
from kinetics.ensemble import fingerprint

DRAWS = 768  # random draws, of the best of which a search starts
POPULATION = 32
GENERATIONS = 600
WIDTH = 0.2  # of the first generation, in units of the declared (logarithmic) ranges
STEPS = 40  # of the walk within the accepted region
LOOSE = 1e-3  # relative tolerance of the search; wrong by less than 1e-4 in viability
MARGIN = 0.02  # a hinge begins this far inside its bound, in units of its scale, for what the tolerance gets wrong
DATA_SCALE = 0.01  # misfit beyond its bound that counts 1
COSTLY = ("A05", "A40", "A41")  # time courses and the panel: asked, like the data, of sets that are nearly there
NEARLY = 1.5  # summed hinges of the other criteria
FAR = 20.0  # what stands for the costly ones until then


@functools.cache
def acceptance() -> Mapping[str, Any]:
    """The rule by which sets are accepted."""
    return tomllib.loads(resources.files("fits").joinpath("steroid/acceptance.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Space:
    """The declared ranges as a unit cube, logarithmic in each constant."""

    names: tuple[str, ...]
    low: FloatArray  # ln
    high: FloatArray

    @classmethod
    def declared(cls) -> Space:
        """Of the claims' own ranges."""
        found = declared_ranges(MODEL)
        bounds = np.log([(each.lower, each.upper) for each in found.values()])
        return cls(tuple(found), bounds[:, 0], bounds[:, 1])

    def sets(self, points: FloatArray) -> dict[str, FloatArray]:
        """Values by name of points in the cube, shape ``(n, n_names)``."""
        logs = self.low + points * (self.high - self.low)
        return {name: np.exp(logs[:, i]) for i, name in enumerate(self.names)}


class Judge:
    """How far points of the cube are from being accepted: 0 where nothing is left to wish for."""

    def __init__(self, space: Space) -> None:
        self.space = space
        batch = Batch(kin.Model.load(MODEL))
        self._cheap = Plan(batch, requests(_cheap))
        self._costly = Plan(batch, requests(_costly, misfit))

    def cheap(self, points: FloatArray) -> FloatArray:
        """Hinges of most criteria, summed; shape ``(n,)``."""
        return _hinges(_cheap(self._cheap.run(self.space.sets(points), rtol=LOOSE)))

    def costly(self, points: FloatArray) -> FloatArray:
        """Hinges of the others and of the misfit, shape ``(n,)``."""
        answers = self._costly.run(self.space.sets(points), rtol=LOOSE)
        bound = acceptance()["data"]["largest_misfit"] - 0.05 * DATA_SCALE
        left = misfit(answers)[0]
        data = np.where(np.isfinite(left), np.maximum(left - bound, 0.0) / DATA_SCALE, FAR)
        hinges: FloatArray = _hinges(_costly(answers)) + data
        return hinges

    def wishes(self, point: FloatArray) -> list[str]:
        """What one point still misses, the most first."""
        sets = self.space.sets(point[np.newaxis])
        answers = self._costly.run(sets, rtol=LOOSE)
        found = [*_cheap(self._cheap.run(sets, rtol=LOOSE)), *_costly(answers)]
        missed = {each.name: float(_hinge(each)[0]) for each in found}
        missed["misfit"] = float(misfit(answers)[0][0])
        return [f"{name} {miss:.2g}" for name, miss in sorted(missed.items(), key=lambda item: -item[1]) if miss]

    def __call__(self, points: FloatArray) -> FloatArray:
        total = self.cheap(points)
        near = total < NEARLY
        rest = np.full(len(points), FAR)
        if near.any():
            rest[near] = np.minimum(self.costly(points[near]), FAR)
        both: FloatArray = total + rest
        return both


def _cheap(cells: Cells) -> list[Criterion]:
    claims = [claim for claim in (*CORE, *REALISM) if claim not in COSTLY]
    return [each for found in evaluate(claims, cells).values() for each in found]


def _costly(cells: Cells) -> list[Criterion]:
    return [each for found in evaluate(COSTLY, cells).values() for each in found]


def _hinges(found: Sequence[Criterion]) -> FloatArray:
    total: FloatArray = np.sum([_hinge(criterion) for criterion in found], axis=0)
    return total


def _hinge(criterion: Criterion) -> FloatArray:
    """The miss with the bounds drawn in, so that a set that is just inside for a loose solver is not taken."""
    bounds = [bound for bound in (criterion.at_least, criterion.at_most) if bound is not None]
    # "Does not fall" is a bound at 0, which a saturated curve meets with nothing to spare but the solver's noise.
    inside = -LOOSE * criterion.scale if any(abs(bound) <= NOISE for bound in bounds) else MARGIN * criterion.scale
    room = np.inf
    if criterion.at_least is not None and criterion.at_most is not None:
        room = 0.25 * (criterion.at_most - criterion.at_least)
    step = min(inside, room)
    drawn_in = Criterion(
        criterion.name,
        criterion.value,
        None if criterion.at_least is None else criterion.at_least + step,
        None if criterion.at_most is None else criterion.at_most - step,
        criterion.scale,
    )
    return drawn_in.miss


def search(seed: int, *, log: bool = False) -> FloatArray:
    """One independent search: points of the cube that the judge has nothing against, shape ``(n, n_names)``.

    Empty where the climb does not end within `GENERATIONS`.
    """
    import cma

    space = Space.declared()
    judge, rng = Judge(space), np.random.default_rng(seed)
    draws = rng.random((DRAWS, len(space.names)))
    start = draws[int(np.argmin(judge.cheap(draws)))]
    options = {"bounds": [0, 1], "popsize": POPULATION, "seed": seed + 1, "verbose": -9}
    climb = cma.CMAEvolutionStrategy(start, WIDTH, options)
    found: FloatArray = np.empty((0, len(space.names)))
    began = time.monotonic()
    for generation in range(GENERATIONS):
        points = np.array(climb.ask())
        values = judge(points)
        climb.tell(list(points), values.tolist())
        if log and generation % 20 == 0:
            left = ", ".join(judge.wishes(points[int(np.argmin(values))])[:8])
            said = f"search {seed}: {generation} {np.min(values):.3f} {time.monotonic() - began:.0f} s  {left}"
            print(said, file=sys.stderr, flush=True)
        if np.any(values == 0.0):
            found = points[values == 0.0]
            break
    if not len(found):
        return found
    return _walk(judge, found, climb.sm.B * climb.sm.D, rng)


def _walk(judge: Judge, found: FloatArray, directions: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Random steps from accepted points to accepted points, along the directions that the climb has learnt."""
    walkers = found[rng.integers(len(found), size=POPULATION)]
    seen = [found]
    scale = directions / np.sqrt(np.sum(directions**2))
    size = 0.3
    for _ in range(STEPS):
        step = rng.standard_normal(walkers.shape) @ scale.T * size * rng.choice([0.3, 1.0, 3.0], size=(len(walkers), 1))
        tried = walkers + step
        inside = np.all((tried >= 0.0) & (tried <= 1.0), axis=1)
        good = inside & (judge(np.clip(tried, 0.0, 1.0)) == 0.0)
        walkers = np.where(good[:, np.newaxis], tried, walkers)
        size *= 1.2 if np.mean(good) > 0.25 else 0.85
        seen.append(tried[good])
    return np.concatenate(seen)


def spread(points: FloatArray, space: Space, most: int, apart: float) -> FloatArray:
    """At most so many points, far from one another, no two within ``apart`` (relative) in all constants."""
    if not len(points):
        return points
    logs = points * (space.high - space.low)
    chosen = [len(points) - 1]
    nearest = np.max(np.abs(logs - logs[chosen[0]]), axis=1)
    while len(chosen) < most and np.max(nearest) > np.log1p(apart):
        chosen.append(int(np.argmax(nearest)))
        nearest = np.minimum(nearest, np.max(np.abs(logs - logs[chosen[-1]]), axis=1))
    return points[chosen]


@dataclass(frozen=True)
class Member:
    """What a search contributes; ``refused`` says why the tight tolerance does not accept it, or nothing."""

    search: int
    values: dict[str, float]
    misfit: float
    refused: str


def against(values: Mapping[str, float], model: kin.Model) -> tuple[str, float]:
    """What the rule has against a set, with the engine at the tight tolerance ("" for nothing), and its misfit."""
    rule = acceptance()
    laboratory = Laboratory(model, parameters=values, solver=kin.Solver(**rule["claims"]["solver"]))
    laboratory.prepare(CORE)
    broken = [
        f"{claim}: {each.name} {float(each.value[0]):.4g}, not {each.bounds}"
        for claim, found in evaluate(CORE, laboratory).items()
        for each in found
        if not each.holds[0]
    ]
    left = float(misfit(laboratory)[0][0])
    if not left <= rule["data"]["largest_misfit"]:
        broken.append(f"misfit {left:.4g}")
    return "; ".join(broken), left


def _one(seed: int, kept_in: Path) -> list[Member]:
    """A whole search in a worker, or what an earlier run of it has left in ``kept_in``."""
    file = kept_in / f"search_{seed}.json"
    if file.exists():
        return [Member(**row) for row in json.loads(file.read_text(encoding="utf-8"))]
    space, rule, model = Space.declared(), acceptance()["members"], kin.Model.load(MODEL)
    members: list[Member] = []
    for row in spread(search(seed, log=True), space, rule["at_most_per_search"] + 4, rule["apart"]):
        values = {name: float(f"{value[0]:.7g}") for name, value in space.sets(row[np.newaxis]).items()}
        refused, left = against(values, model)
        print(f"search {seed}: {refused or 'accepted'}, misfit {left:.4f}", file=sys.stderr)
        if sum(not each.refused for each in members) < rule["at_most_per_search"]:
            members.append(Member(seed, values, left, refused))
    kept_in.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps([asdict(member) for member in members]), encoding="utf-8")
    return members


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the searches and write the ensemble."""
    words = argparse.ArgumentParser(prog="python -m fits.steroid.search", description=main.__doc__)
    words.add_argument("--seeds", default="1,2,3,4,5,6,7,8", help="one search for each (1,2,...,8)")
    words.add_argument("--workers", type=int, default=2, help="processes (2)")
    words.add_argument("--out", type=Path, default=Path("sbml/ensembles"), help="folder to write into")
    words.add_argument("--work", type=Path, default=Path("ensemble_work"), help="where finished searches are kept")
    given = words.parse_args(arguments)
    seeds = [int(seed) for seed in given.seeds.split(",")]
    with ProcessPoolExecutor(given.workers, mp_context=get_context("spawn")) as pool:
        members = [member for found in pool.map(_one, seeds, [given.work] * len(seeds)) for member in found]
    kept = [member for member in members if not member.refused]
    names = Space.declared().names
    given.out.mkdir(parents=True, exist_ok=True)
    with (given.out / f"{MODEL}.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["search", *names])
        table.writerows([each.search, *(repr(each.values[name]) for name in names)] for each in kept)
    document = {
        "model": MODEL,
        "fingerprint": fingerprint(kin.Model.load(MODEL), names),
        "rule": acceptance(),
        "ranges": {name: [each.lower, each.upper] for name, each in declared_ranges(MODEL).items()},
        "searches": {
            str(seed): {
                "accepted": sum(each.search == seed for each in kept),
                "refused": [each.refused for each in members if each.search == seed and each.refused],
            }
            for seed in seeds
        },
        "misfit": [round(each.misfit, 5) for each in kept],
        **collect(["python", "-m", "fits.steroid.search"]).to_dict(),
    }
    (given.out / f"{MODEL}.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    searches, rule = {each.search for each in kept}, acceptance()["members"]
    print(f"{len(kept)} sets of {len(searches)} searches -> {given.out}", file=sys.stderr)
    return 0 if len(kept) >= rule["at_least"] and len(searches) >= rule["searches"] else 1


if __name__ == "__main__":
    sys.exit(main())
