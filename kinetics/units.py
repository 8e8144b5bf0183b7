"""Doses, concentrations and times with units.

``quantity("3 uM")`` is a number with a unit; `convert` brings it into the unit a model declares.
Mass concentrations become molar ones only with a molar mass that is known, never guessed.
The arithmetic of units is pint's; it is loaded when a unit is first needed.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kinetics.errors import UnitError

_NUMBER = re.compile(r"\s*([+-]?(?>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|[+-]?(?:inf|nan))\s*", re.IGNORECASE)
# Only what a unit needs: letters, micro and percent signs, products, quotients, small powers.
_UNIT = re.compile(r"[A-Za-zµμ%/*^·().\d\s-]{1,60}\Z")
_MULTIPLE = re.compile(r"(\d+\.?\d*(?:[eE][+-]?\d{1,3})?)\*(?=[A-Za-z])")
_BIG_POWER = re.compile(r"\^\s*-?\d{2,}|\*\*")
_PRETTY = (
    "nM", "uM", "pM", "mM", "M", "ng/ml", "pg/ml", "nmol", "pmol", "umol", "mmol", "mol", "zmol", "fmol", "amol", "min",
    "h", "s", "d", "pl", "fl", "nl", "ul", "ml", "l", "1/min", "1/h", "1/s", "1/d", "1/nM/min", "1/ml", "1/ul",
    "1/l", "1/nM", "1/uM", "1/M", "1/zmol", "1/nmol", "1/pmol", "1/mol", "1/nM/h", "1/nM/s", "nM/min", "nM/h",
    "nM/s", "1/uM/s", "uM/s", "uM/min", "mM/s", "1/mM/s",
)  # fmt: skip


@dataclass(frozen=True)
class Quantity:
    """A number and its unit; ``unit`` is ``""`` where none was given."""

    value: float
    unit: str

    def __str__(self) -> str:
        return f"{self.value:g} {self.unit}".rstrip()


@functools.cache
def _registry() -> Any:
    import pint  # 0.2 s: only those who use units wait for it

    registry: Any = pint.UnitRegistry(autoconvert_to_preferred=False)
    registry.define("cell = count")
    registry.define("molecule = count")
    registry.define("U = [enzymatic_activity_unit]")
    return registry


@functools.lru_cache(maxsize=1024)
def _parse_unit(text: str) -> Any:
    cleaned = text.strip().replace("μ", "u").replace("µ", "u").replace("·", "*")
    if cleaned in ("", "1", "dimensionless"):
        return _registry().dimensionless
    if cleaned == "%":
        return _registry().percent
    if not _UNIT.match(cleaned) or _BIG_POWER.search(cleaned):
        raise UnitError(f"cannot read the unit {text!r}; expected something like 'nM', 'ng/ml' or 'h'")
    cleaned = re.sub(r"\s+", " ", cleaned)
    multiple = _MULTIPLE.match(cleaned)
    if multiple:  # as `unit_name` writes units of a model that have no name of their own
        return float(multiple.group(1)) * _parse_unit(cleaned[multiple.end() :])
    cleaned = re.sub(r"\bcells\b", "cell", cleaned)
    try:
        return _registry().parse_units(cleaned.replace("^", "**"))
    except Exception as error:  # pint raises many kinds, its own and Python's
        raise UnitError(f"unknown unit {text!r}; expected something like 'nM', 'ng/ml' or 'h'") from error


def quantity(value: str | float | Quantity, what: str = "value") -> Quantity:
    """Read ``"3 uM"``, ``"0.5 ng/ml"``, ``"24 h"``, a plain number, or a `Quantity`.

    Raises:
        UnitError: no number at the start, or a unit that cannot be read.
    """
    if isinstance(value, Quantity):
        return value
    if isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool):
        return Quantity(float(value), "")
    if not isinstance(value, str):
        raise UnitError(f"{what} must be a number or text like '3 uM', got {value!r}")
    match = _NUMBER.match(value)
    if not match:
        raise UnitError(f"{what} must start with a number, as in '3 uM', got {value!r}")
    unit = value[match.end() :].strip()
    try:
        _parse_unit(unit)
    except UnitError as error:
        raise UnitError(f"{what}: {error}") from None
    return Quantity(float(match.group(1)), unit)


def factor(unit: str, to: str, *, molar_mass: float | None = None, what: str = "value") -> float:
    """The number by which a value in ``unit`` is multiplied to be in ``to``.

    Args:
        molar_mass: g/mol; needed where one is a mass and the other an amount of substance.

    Raises:
        UnitError: the dimensions differ, or a molar mass is needed and not known.
    """
    try:
        return _factor(unit, to, molar_mass)
    except UnitError as error:
        raise UnitError(f"{what}: {error}") from None


@functools.lru_cache(maxsize=1024)
def _factor(unit: str, to: str, molar_mass: float | None) -> float:
    source, target = _parse_unit(unit), _parse_unit(to)
    if source == target:
        return 1.0
    registry = _registry()
    try:
        ratio = (1.0 * source) / (1.0 * target)
        dimensionless = ratio.dimensionless
    except Exception as error:  # offsets and logarithms (degC, dBm) are not factors
        raise UnitError(f"cannot turn {unit!r} into {to!r} by a factor") from error
    if dimensionless:
        return float(ratio.to_base_units().magnitude)
    gram_per_mole = registry.g / registry.mol
    for power in (-1, 1):
        trial = ratio * gram_per_mole**power
        if trial.dimensionless:
            if molar_mass is None:
                raise UnitError(
                    f"{unit!r} and {to!r} are mass and amount of substance; the molar mass is not known, "
                    "so give the value in the other kind of unit or pass molar_masses={name: g_per_mol} to Model.load"
                )
            if not (math.isfinite(molar_mass) and molar_mass > 0):
                raise UnitError(f"a molar mass must be positive, in g/mol, got {molar_mass}")
            return float((trial * molar_mass ** (power)).to_base_units().magnitude)
    raise UnitError(f"cannot turn {unit!r} into {to!r}: the dimensions differ")


def convert(value: str | float | Quantity, to: str, *, molar_mass: float | None = None, what: str = "value") -> float:
    """A number in the unit ``to``; a plain number is taken to be in it already."""
    given = quantity(value, what)
    if not given.unit or not to:
        if given.unit and not to:
            raise UnitError(f"{what} is given as {given}, but the model declares no unit to convert it to")
        return given.value
    return given.value * factor(given.unit, to, molar_mass=molar_mass, what=what)


def same_dimension(unit: str, other: str) -> bool:
    """Whether a value in one unit can be given in the other without a molar mass."""
    try:
        factor(unit, other)
    except UnitError:
        return False
    return True


@functools.lru_cache(maxsize=1024)
def unit_name(terms: tuple[tuple[str, float, int, float], ...]) -> str:
    """A readable name for an SBML unit definition.

    Args:
        terms: (kind, exponent, scale, multiplier) of each SBML ``unit``: (multiplier 10^scale kind)^exponent.

    Returns:
        A name such as ``"nM"`` where one fits exactly, else a product such as ``"1e-21 mol/pl"``;
        ``""`` for dimensionless.
    """
    registry = _registry()
    kinds = {"item": "count", "litre": "liter", "metre": "meter", "gram": "gram", "avogadro": "avogadro_number"}
    total = 1.0 * registry.dimensionless
    for kind, exponent, scale, multiplier in terms:
        if kind == "dimensionless":
            total = total * (multiplier * 10.0**scale) ** exponent
            continue
        unit = registry.parse_units(kinds.get(kind, kind))
        power = int(exponent) if float(exponent).is_integer() else exponent
        total = total * (multiplier * 10.0**scale * unit) ** power
    if total.dimensionless and math.isclose(total.to_base_units().magnitude, 1.0, rel_tol=1e-12):
        return ""
    for name in _PRETTY:
        ratio = total / (1.0 * _parse_unit(name))
        if ratio.dimensionless and math.isclose(ratio.to_base_units().magnitude, 1.0, rel_tol=1e-9):
            return name
    base = total.to_root_units()
    if math.isclose(base.magnitude, 1.0, rel_tol=1e-12):
        return f"{base.units:~C}".replace("**", "^")
    return f"{base.magnitude:.12g}*{base.units:~C}".replace("**", "^")


def doses(lowest: str, highest: str, *, per_decade: int = 4, zero: bool = False) -> tuple[Quantity, ...]:
    """Log-spaced doses with a unit, both ends included.

    >>> [str(dose) for dose in doses("1 nM", "100 nM", per_decade=1)]
    ['1 nM', '10 nM', '100 nM']
    """
    low, high = quantity(lowest, "lowest dose"), quantity(highest, "highest dose")
    if not low.unit or not high.unit:
        raise UnitError(f"doses need units, as in '0.1 ng/ml', got {lowest!r} and {highest!r}")
    top = high.value * factor(high.unit, low.unit, what="highest dose")
    if not (0.0 < low.value < top < math.inf):
        raise UnitError(f"doses need 0 < lowest < highest, got {lowest!r} and {highest!r}")
    if per_decade < 1:
        raise UnitError(f"doses need at least one point per decade, got {per_decade}")
    number = max(2, round(math.log10(top / low.value) * per_decade) + 1)
    grid = np.geomspace(low.value, top, number)
    grid[0], grid[-1] = low.value, top
    values: Iterable[float] = [0.0, *grid] if zero else list(grid)
    return tuple(Quantity(float(value), low.unit) for value in values)


def magnitudes(
    values: Iterable[str | float | Quantity], to: str, *, molar_mass: float | None = None, what: str = "value"
) -> npt.NDArray[np.float64]:
    """Several values in one unit, shape ``(n,)``."""
    return np.array([convert(value, to, molar_mass=molar_mass, what=what) for value in values], dtype=float)
