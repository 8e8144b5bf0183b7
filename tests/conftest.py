"""Shared fixtures: small models that can be solved by hand, and the folder of shared material."""

from __future__ import annotations

import os

# Tests run side by side: threads of the linear algebra beneath numpy would only be in one another's way.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

from pathlib import Path

import pytest
from hypothesis import settings

from kinetics import Model

# By hand, property tests look for new examples each time; where a run decides something, they try the same ones.
settings.register_profile("same examples", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("same examples")

# Concentrations in nM, time in min, volume in pL, amounts in zmol: the conventions of the bundled models.
UNITS = """
  unit volume = 1e-12 litre; unit substance = 1e-21 mole; unit time_unit = 60 second; unit extent = 1e-21 mole
  unit nM = 1e-21 mole / 1e-12 litre; unit per_min = 1 / (60 second)
"""
DECAY = """model decay()
  compartment cell = 2; species A in cell, P in cell
  loss: A -> P; cell * k * A
  A = 10; P = 1; k = 0.1
end"""
# The volume is not 1, so that amounts and concentrations cannot be mixed up unnoticed.
BINDING = """model binding()
  compartment well = 3; species L in well, R in well, C in well
  bind: L + R -> C; well * (k_on * L * R - k_off * C)
  k_on = 0.2; k_off = 0.5; L = 4; R = 3; C = 0
end"""
# The agonist L and the antagonist B are boundary species: they are not used up.
ANTAGONIST = """model antagonist()
  compartment well = 2; species $L in well, $B in well, R in well, C in well, X in well
  agonist: R -> C; well * (k_on * L * R - k_off * C)
  blocker: R -> X; well * (k_on_b * B * R - k_off_b * X)
  k_on = 1; k_off = 2; k_on_b = 0.5; k_off_b = 0.25; R = 1; C = 0; X = 0; L = 0; B = 0
end"""
PK = """model pk()
  compartment plasma = 5; species Gut in plasma, Drug in plasma
  infusion: -> Drug; plasma * rate
  absorption: Gut -> Drug; plasma * k_a * Gut
  elimination: Drug -> ; plasma * k_e * Drug
  Gut = 0; Drug = 0; rate = 0; k_a = 0.5; k_e = 0.2
end"""


@pytest.fixture(scope="session")
def decay() -> Model:
    """``A' = -k A``, A(0) = 10, k = 0.1; P takes up what A loses, P(0) = 1."""
    return Model.load(DECAY, trusted=True)


@pytest.fixture(scope="session")
def binding() -> Model:
    """``L + R <-> C`` with K_d = 2.5, L(0) = 4, R(0) = 3."""
    return Model.load(BINDING, trusted=True)


@pytest.fixture(scope="session")
def antagonist() -> Model:
    """Receptor of total 1 with agonist L (K_d 2) and competitive antagonist B (K_b 0.5), both constant."""
    return Model.load(ANTAGONIST, trusted=True)


@pytest.fixture(scope="session")
def pk() -> Model:
    """One compartment with first-order absorption and elimination and a constant infusion ``rate``."""
    return Model.load(PK, trusted=True)


@pytest.fixture(scope="session")
def with_units() -> Model:
    """``Drug' = -k Drug`` in nM and minutes, with declared units; the molar mass of Drug is known (50 kg/mol)."""
    text = f"""model with_units()
  {UNITS}
  compartment cell = 2; cell has volume
  species Drug in cell, Other in cell
  loss: Drug -> Other; cell * k * Drug
  Drug = 10; Other = 0; k = 0.1; k has per_min
end"""
    return Model.load(text, molar_masses={"Drug": 50_000.0}, trusted=True)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Reference material that lies beside the repository and does not ship with it."""
    folder = Path(__file__).parents[1].parent / "shared"
    if not folder.is_dir():
        pytest.skip("the shared reference material is not beside this checkout")
    return folder
