"""Which parameters several arms share: a linear map from what is estimated to the parameters of each arm.

Estimated parameters are called after the shape's (``log_ec50``) where all arms share them and with the arm in
brackets (``log_ec50[drug]``) where they do not.  Because the map is linear, a difference between arms can itself be
estimated (``fits.curvefit.shifts``), so that its profile is that of a parameter.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fits.curvefit.forms import FloatArray, Form
from kinetics.errors import InputError

DIFFERENCE = "delta_"  # begins the name of an estimated difference between arms


@dataclass(frozen=True, eq=False)
class Layout:
    """``theta[arm] = matrix[arm] @ x + offset[arm]``."""

    form: Form
    arms: tuple[str, ...]
    names: tuple[str, ...]  # estimated, (n,)
    roles: tuple[int, ...]  # which parameter of the shape each is, (n,)
    matrix: FloatArray  # (arms, p, n)
    offset: FloatArray  # (arms, p)

    def theta(self, x: FloatArray, arm: int) -> FloatArray:
        """Parameters of the shape for one arm, ``(p,)``."""
        return np.asarray(self.matrix[arm] @ x + self.offset[arm])

    def row(self, arm: int, name: str) -> FloatArray:
        """How one parameter of an arm depends on what is estimated, ``(n,)``."""
        return np.asarray(self.matrix[arm, self.form.index(name)])

    def solve(self, thetas: FloatArray) -> FloatArray:
        """The estimated parameters closest to given ones of all arms, ``(arms, p)``: shared ones become means."""
        stacked = self.matrix.reshape(-1, len(self.names))
        found, *_ = np.linalg.lstsq(stacked, (thetas - self.offset).reshape(-1), rcond=None)
        return np.asarray(found)


_PLAIN = {"ec50": ("log_ec50", math.log10), "hill": ("log_hill", math.log), "hill_2": ("log_hill_2", math.log),
          "skew": ("log_skew", math.log)}  # fmt: skip


def canonical(shared: Iterable[str], fixed: Mapping[str, float] | None) -> tuple[tuple[str, ...], dict[str, float]]:
    """Names and values as the shapes have them: ``ec50`` and ``hill`` may be said for ``log_ec50`` and ``log_hill``.

    Raises:
        InputError: a plain value is not positive, or not finite.
    """
    held = {}
    for name, value in (fixed or {}).items():
        if not math.isfinite(value) or (name in _PLAIN and not value > 0.0):
            raise InputError(f"parameter {name!r} cannot be fixed at {value:g}")
        inner, turn = _PLAIN.get(name, (name, float))
        held[inner] = float(turn(value))
    return tuple(_PLAIN.get(name, (name, None))[0] for name in shared), held


def arrange(
    form: Form, arms: Sequence[str], shared: Iterable[str] = (), fixed: Mapping[str, float] | None = None
) -> Layout:
    """A layout in which arms share some parameters and have the others to themselves.

    Args:
        shared: parameters of the shape; ``"all"`` shares every one.
        fixed: values that are not estimated; they come on top of those the shape fixes itself.

    Raises:
        InputError, UnknownName: a name is not of the shape, or is both shared and fixed.
    """
    together = set(form.free) if "all" in (chosen := list(shared)) else set(chosen)
    held = {**form.fixed, **(fixed or {})}
    for name in (*sorted(together), *held):
        form.index(name)
    if both := sorted(together & held.keys()):
        raise InputError(f"parameter {both[0]!r} is fixed at {held[both[0]]:g}, so it cannot be shared as well")
    names: list[str] = []
    roles: list[int] = []
    places: list[tuple[int, int, int]] = []
    offset = np.zeros((len(arms), len(form.parameters)))
    for role, name in enumerate(form.parameters):
        if name in held:
            offset[:, role] = held[name]
            continue
        for number, arm in enumerate(arms):
            if name not in together or number == 0:
                names.append(name if name in together or len(arms) == 1 else f"{name}[{arm}]")
                roles.append(role)
            places.append((number, role, len(names) - 1))
    matrix = np.zeros((len(arms), len(form.parameters), len(names)))
    for place in places:
        matrix[place] = 1.0
    if not names:
        raise InputError("every parameter is fixed: there is nothing to estimate")
    return Layout(form, tuple(arms), tuple(names), tuple(roles), matrix, offset)
