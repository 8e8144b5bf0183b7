"""``kinetics profile`` and ``kinetics sample``: how sure we are of what was fitted."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from fits.commands.calibrate import check_table
from fits.commands.common import aligned, heartbeat, one_line, print_json, versions, workers, write_csv
from fits.fit_report import stored_profiles
from fits.identifiability import Identifiability, identifiability
from fits.profiles import Profile, profiles
from fits.sampling import Samples, sample
from fits.stored import StoredFit, open_fit
from kinetics.errors import InputError


def _opened(args: argparse.Namespace) -> StoredFit:
    fit = open_fit(args.fit, args.problem)
    _ = fit.result.best  # says why there is none
    return fit


def profile_command(args: argparse.Namespace) -> int:
    """Profiles of parameters, kept in the store where there is one."""
    if not 0.0 < args.level < 1.0:
        raise InputError(f"--level must lie between 0 and 1, got {args.level}")
    check_table(args)
    fit = _opened(args)
    names = list(dict.fromkeys(args.names)) or None
    solved = tuple(getattr(fit.objective, "solved", ()))
    if asked := [name for name in names or () if name in solved]:
        raise InputError(_without_profile(asked))
    with workers(args) as executor:
        found = profiles(
            fit.objective, fit.result, names, level=args.level, scales=fit.scales,
            store=fit.path if fit.is_store else None, executor=executor,
        )  # fmt: skip
    with heartbeat("judging what the data settle", args):
        known = {**stored_profiles(fit, []), **found} if fit.is_store else found
        judged = identifiability(fit.objective, fit.result, known, level=args.level, scales=fit.scales)
    if args.csv:
        write_csv(pd.concat([item.to_frame() for item in found.values()], ignore_index=True), args)
    if args.json:
        print_json(
            {
                "problem": fit.problem.id,
                "level": args.level,
                "profiles": [profile_json(item) for item in found.values()],
                "verdicts": {name: verdict.value for name, verdict in judged.verdicts.items()},
                "sentences": _sentences(found, judged, solved),
                "versions": versions(),
            }
        )
    elif args.csv != "-":
        for sentence in _sentences(found, judged, solved):
            print(one_line(sentence))
        print()
        print(aligned([("parameter", "best", "lower", "upper", "verdict"), *map(_row, found.values())]))
    return 0


def _sentences(found: dict[str, Profile], judged: Identifiability, solved: tuple[str, ...]) -> list[str]:
    said = [*(text for item in found.values() for text in item.sentences()), *judged.sentences()]
    return [*said, _without_profile(solved)] if solved else said


def _without_profile(solved: Sequence[str]) -> str:
    """Why parameters that a hierarchical fit solves for are not profiled."""
    have = "has no profile of its own: it is" if len(solved) == 1 else "have no profiles of their own: they are"
    return (
        f"{', '.join(solved)} {have} solved for inside of the objective, at every point of the other profiles; fit "
        "again without --hierarchical to profile them."
    )


def _end(item: Profile, value: float | None) -> str:
    plain = item.plain(value)
    return "open" if plain is None else f"{plain:.6g}"


def _row(item: Profile) -> tuple[str, ...]:
    best = f"{item.scale.plain(item.optimum):.6g}"
    return item.name, best, _end(item, item.lower), _end(item, item.upper), item.verdict.value


def profile_json(item: Profile) -> dict[str, Any]:
    """A profile as JSON; values are plain."""
    return {
        "name": item.name,
        "best": item.scale.plain(item.optimum),
        "lower": item.plain(item.lower),
        "upper": item.plain(item.upper),
        "lower_end": item.lower_end.value,
        "upper_end": item.upper_end.value,
        "verdict": item.verdict.value,
        "threshold": item.threshold,
        "values": [item.scale.plain(float(value)) for value in item.values],
        "delta": item.delta,
        "sentences": item.sentences(),
    }


def sample_command(args: argparse.Namespace) -> int:
    """Samples of the posterior, kept in the store where there is one."""
    check_table(args)
    fit = _opened(args)
    with workers(args) as executor:
        found = sample(
            fit.objective, fit.result, args.steps, seed=args.seed, walkers=args.walkers, scales=fit.scales,
            store=fit.path if fit.is_store else None, executor=executor,
        )  # fmt: skip
    if args.csv:
        write_csv(_plain_samples(found), args)
    if args.json:
        print_json(
            {
                "problem": fit.problem.id,
                "walkers": found.chain.shape[1],
                "steps": found.chain.shape[0],
                "burn_in": found.burn_in,
                "long_enough": found.long_enough,
                "search_scale": found.to_frame().to_dict(orient="records"),
                "sentences": found.sentences(),
                "versions": versions(),
            }
        )
    elif args.csv != "-":
        for sentence in found.sentences():
            print(one_line(sentence))
    return 0


def _plain_samples(found: Samples) -> pd.DataFrame:
    """A row per sample after burn-in; plain values."""
    kept = found.flat()
    columns = {
        name: np.array([found.scales[i].plain(value) for value in kept[:, i].tolist()])
        for i, name in enumerate(found.names)
    }
    return pd.DataFrame({**columns, "objective": found.objective[found.burn_in :].reshape(-1)})
