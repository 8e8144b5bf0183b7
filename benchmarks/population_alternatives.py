"""Where samples differ: ``python benchmarks/population_alternatives.py [CASE ...] [--starts N] [--json]``.

Fits the bundled problem ``tall_glucocorticoids`` and its cases (other places of the random effect, other noise, the
steepness kept where the claims hold) to the same wells and ranks them by AICc; minutes for each.  With ``--starts 0``
(the default) every search begins once, at the stored calibration, with what a case adds in the middle of its range;
with N starts as ``kinetics fit`` does it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

import numpy as np

from fits.population.calibration import descend, read_calibrated, search
from fits.population.objective import PopulationObjective
from fits.population.problem import read_population
from fits.selection import Candidate, compare
from kinetics.errors import KineticsError


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("cases", nargs="*", help="of the problem file (all)")
    parser.add_argument("--starts", type=int, default=0, help="of each fit; 0 begins at the stored calibration (0)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    try:
        problem, found = read_calibrated()
        known = {name: item.value for name, item in found.estimates.items()}
        candidates, values = {}, {}
        for case in ("", *(args.cases or problem.cases)):
            stated = read_population(problem.id, case=case)
            objective = PopulationObjective(stated)
            if args.starts:
                result = search(objective, n_starts=args.starts, seed=args.seed)
                x, value = result.best.x, result.value
            else:
                middle = 0.5 * (objective.lower + objective.upper)
                begin = [
                    p.scale.scaled(known[p.id]) if p.id in known else float(middle[i])
                    for i, p in enumerate(objective.parameters.free)
                ]
                x, value = descend(objective, np.clip(np.array(begin), objective.lower, objective.upper))
            title = case or "pool"
            candidates[title] = Candidate(value, len(x), objective.curves.wells)
            values[title] = objective.parameters.plain(x)
            shown = ", ".join(f"{name} {number:.3g}" for name, number in values[title].items())
            said = f"{title}: minus log likelihood {value:.2f}, {len(x)} parameters: {shown}"
            print(said, file=sys.stderr, flush=True)
    except KineticsError as error:
        print(f"population_alternatives: {error}", file=sys.stderr)
        return 2
    ranked = compare(candidates)
    if args.json:
        print(json.dumps({
            name: {"nllh": item.nllh, "parameters": values[name], "delta_AICc": ranked.delta[name]}
            for name, item in ranked.candidates.items()
        }, indent=2))  # fmt: skip
        return 0
    for name in ranked.ranking:
        print(f"{name}: AICc {candidates[name].aicc:.1f} (+{ranked.delta[name]:.1f})")
    print("\n".join(ranked.sentences()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
