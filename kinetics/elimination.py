"""Sparse Gaussian elimination written out once and run on many matrices at a time.

The Jacobian of a reaction network is mostly zeros, in the same places for every parameter set.  So the order of
elimination and the places that fill in are worked out once, and what remains is a list of multiplications on arrays
whose entries are the lanes: one matrix per lane.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from kinetics.expression import FloatArray

Place = tuple[int, int]  # row, column


@dataclass(frozen=True)
class Elimination:
    """``factor`` and ``solve`` for matrices ``shift * 1 - A`` with non-zeros of ``A`` in known places.

    Attributes:
        places: the places, in the order in which ``factor`` expects the values.
        factor: ``(values (n_places, lanes), shift (lanes,)) -> factors``.
        solve: ``(factors, right (n, lanes)) -> solutions (n, lanes)``.
        fill: places that are not among ``places`` but become non-zero.
    """

    places: tuple[Place, ...]
    factor: Callable[[FloatArray, FloatArray], tuple[FloatArray, ...]]
    solve: Callable[[tuple[FloatArray, ...], FloatArray], FloatArray]
    fill: int


def elimination(size: int, places: Collection[Place]) -> Elimination:
    """Work out the elimination for matrices of this size and pattern.

    Pivots are taken from the diagonal without looking at values, as is usual in chemical kinetics: with the steps
    that error control takes, ``shift`` dominates where it matters.  A pivot of 0 gives values that are not finite.
    """
    given = tuple(sorted(set(places)))
    order = _order(size, given)
    source, fill = _source(size, given, order)
    namespace: dict[str, Any] = {"empty_like": np.empty_like}
    # Our own text, made of integers alone.
    exec(compile(source, "<elimination>", "exec"), namespace)
    return Elimination(given, namespace["factor"], namespace["solve"], fill)


def _order(size: int, places: Collection[Place]) -> list[int]:
    """Pivots such that little fills in: next is the one with the fewest products (Markowitz)."""
    columns = {i: {j for r, j in places if r == i and j != i} for i in range(size)}  # row -> columns
    rows = {j: {i for i, c in places if c == j and i != j} for j in range(size)}  # column -> rows
    order = []
    left = set(range(size))
    while left:
        pivot = min(left, key=lambda k: (len(rows[k]) * len(columns[k]), k))
        left.remove(pivot)
        order.append(pivot)
        for row in rows[pivot]:
            columns[row].discard(pivot)
            new = columns[pivot] - {row}
            columns[row] |= new
            for column in new:
                rows[column].add(row)
        for column in columns[pivot]:
            rows[column].discard(pivot)
    return order


def _source(size: int, places: tuple[Place, ...], order: list[int]) -> tuple[str, int]:
    lines = ["def factor(a, shift):"]
    present = set(places) | {(i, i) for i in range(size)}
    for index, (row, column) in enumerate(places):
        lines.append(f"    m{row}_{column} = {'shift' if row == column else ''} - a[{index}]")
    lines += [f"    m{i}_{i} = shift" for i in range(size) if (i, i) not in places]
    position = {pivot: step for step, pivot in enumerate(order)}
    forward, backward, kept, fill = [], [], [], 0
    for pivot in order:
        later = [i for i in order if position[i] > position[pivot]]
        right = [j for j in later if (pivot, j) in present]
        lines.append(f"    m{pivot}_{pivot} = 1.0 / m{pivot}_{pivot}")
        for row in (i for i in later if (i, pivot) in present):
            lines.append(f"    m{row}_{pivot} = m{row}_{pivot} * m{pivot}_{pivot}")
            for column in right:
                if (row, column) in present:
                    lines.append(f"    m{row}_{column} = m{row}_{column} - m{row}_{pivot} * m{pivot}_{column}")
                else:
                    present.add((row, column))
                    fill += 1
                    lines.append(f"    m{row}_{column} = -m{row}_{pivot} * m{pivot}_{column}")
            forward.append(f"    x{row} = x{row} - m{row}_{pivot} * x{pivot}")
            kept.append(f"m{row}_{pivot}")
        known = "".join(f" - m{pivot}_{j} * x{j}" for j in right)
        backward.append(f"    x{pivot} = (x{pivot}{known}) * m{pivot}_{pivot}")
        kept += [f"m{pivot}_{pivot}", *(f"m{pivot}_{j}" for j in right)]
    names = ", ".join(kept) + ","
    lines.append(f"    return ({names})")
    lines += ["def solve(factors, b):", f"    ({names}) = factors"]
    lines += [f"    x{i} = b[{i}]" for i in range(size)]
    lines += forward + backward[::-1]
    lines.append("    out = empty_like(b)")
    lines += [f"    out[{i}] = x{i}" for i in range(size)]
    lines.append("    return out")
    return "\n".join(lines), fill
