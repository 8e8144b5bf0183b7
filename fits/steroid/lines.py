"""Arms that many criteria share: lines of the catalogue in a steroid, with and without IL-7."""

from __future__ import annotations

from fits.steroid.arms import Arm, Cells, FloatArray, il7, line

PREDNISOLONE = 1000.0  # nM, wherever a claim says pred
DEXAMETHASONE = 1000.0  # nM, wherever a claim names no other dose
DEXAMETHASONE_RESCUE = 2500.0  # nM, A29
IL7_RESCUE = 25.0  # ng/ml, A29
IL7_LADDER = (0.01, 0.1, 0.3, 1.0, IL7_RESCUE, 100.0)  # ng/ml, A30
GSK3I_IX = 500.0  # nM, A37
VENETOCLAX = 100.0  # nM, A38
PREDNISOLONE_DOSES = (1.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 1000.0, 1e5, 694e3)  # nM
DEXAMETHASONE_DOSES = (0.1, 1.0, 2.0, 4.0, 8.0, 16.0, 100.0, 1000.0, 1e4)  # nM
HOURS = (*(float(hour) for hour in range(37)), *(float(hour) for hour in range(40, 73, 4)))  # A05

RESISTANT = ("mIL7R", "mJAK1", "mNRAS", "oeNRAS", "oeAKT")
WILD_TYPE = ("wtJAK1", "wtJAK3", "wtIL7R")
ACTIVATING = ("mIL7R", "mJAK1", "mNRAS")  # A24-A28
FAMILY = ("fold_BCL2", "fold_BCLXL", "fold_MCL1")
REACHES = ("arm_BCL2", "arm_GSK3", "arm_BIM")  # switches of the three ways in which signals reach the family


def predded(name: str) -> Arm:
    """A line in prednisolone."""
    return line(name).given(Prednisolone=PREDNISOLONE)


def dexed(name: str) -> Arm:
    """A line in dexamethasone."""
    return line(name).given(Dexamethasone=DEXAMETHASONE)


def with_il7(arm: Arm, ng_per_ml: float) -> Arm:
    """The same with IL-7 in the medium."""
    return arm.given(IL7=il7(ng_per_ml))


def fold(cells: Cells, arm: Arm, over: Arm, quantity: str, hours: float) -> FloatArray:
    """A quantity over that of another arm at the same time."""
    return cells(arm, quantity, hours) / cells(over, quantity, hours)
