"""A model that can be simulated: SBML in, description and engine together."""

from __future__ import annotations

import functools
import hashlib
import html
import math
import numbers
import os
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from kinetics import antimony, catalogue
from kinetics.dependencies import missing_behind
from kinetics.description import Description, Entity, describe_sbml
from kinetics.engine import Engine, probe
from kinetics.errors import InputError, InvalidModel, MissingValue, ModelNotFound, UnknownName
from kinetics.expression import Expression
from kinetics.formula import RESERVED, parse
from kinetics.rewriting import RATE_OF, with_fillers, with_rates, with_stated_values, without_time
from kinetics.validation import CheckedModel, read_sbml

_engines: OrderedDict[str, Engine] = OrderedDict()  # by hash of the SBML: variants and copies share one engine
_KEEP = 16  # engines alive in one process; compiled code of a large model takes some megabytes


def _engine(checked: CheckedModel, description: Description) -> Engine:
    key = hashlib.sha256(checked.sbml.encode()).hexdigest()
    if key in _engines:
        _engines.move_to_end(key)
        return _engines[key]
    entities = description.entities
    by_rule = [e.id for e in entities.values() if e.kind == "species" and e.rule == "rate"]
    sbml = with_fillers(checked.sbml, checked.missing) if checked.missing else checked.sbml
    sbml = with_rates(sbml, by_rule) if by_rule else sbml
    sbml = without_time(sbml) if "time" in entities else sbml
    engine = Engine(
        sbml,
        checked.name,
        events=bool(description.events),
        ruled=frozenset(description.assignments) | {RATE_OF + name for name in by_rule},
        moving=tuple(entities[name].engine_id for name in description.states),
        rated=tuple(e.engine_id for e in entities.values() if e.rule == "rate" and e.kind != "stoichiometry"),
        ruled_rates={entities[name].engine_id: RATE_OF + name for name in by_rule},
    )
    _engines[key] = engine
    while len(_engines) > _KEEP:
        _engines.popitem(last=False)
    return engine


@functools.lru_cache(maxsize=32)
def _probed(sbml: str, name: str) -> None:
    probe(sbml, name)


class Model:
    """An SBML model.  It holds no settings: what `simulate` returns depends on its arguments alone.

    >>> model = Model.load("il7_stat5_imatinib")
    >>> model.time_unit
    'min'
    """

    def __init__(
        self,
        checked: CheckedModel,
        *,
        description: Description | None = None,
        entry: catalogue.CatalogueEntry | None = None,
        values: Mapping[str, float] | None = None,
        readouts: Mapping[str, str] | None = None,
        molar_masses: Mapping[str, float] | None = None,
        variant: str = "",
    ) -> None:
        self._checked, self._entry = checked, entry
        self.description = description or describe_sbml(checked.sbml)
        self.name, self.variant_name = checked.name, variant
        self.values: Mapping[str, float] = MappingProxyType(dict(values or {}))
        self.readouts: Mapping[str, str] = MappingProxyType(dict(readouts or {}))
        self.molar_masses: Mapping[str, float] = MappingProxyType(dict(molar_masses or {}))

    # --- loading --------------------------------------------------------------------------------------------

    @classmethod
    def load(
        cls,
        source: object,
        *,
        variant: str = "",
        readouts: Mapping[str, str] | None = None,
        molar_masses: Mapping[str, float] | None = None,
        trusted: bool = False,
    ) -> Model:
        """Load a bundled model by name, an SBML or Antimony file or text, or a tellurium object.

        Args:
            source: ``"il7_stat5_imatinib"``, ``"path/model.xml"``, SBML or Antimony text, or what
                ``tellurium.loada`` returned (with the values it has now).
            variant: a named set of values of a bundled model, for example ``"memory_CD8"``.
            readouts: formulas by name, added to those of a bundled model.
            molar_masses: g/mol by species, for doses given as mass per volume.
            trusted: skip the trial of a foreign model in a child process (about half a second).

        Raises:
            ModelNotFound, InvalidModel, UnsupportedModel: the source is at fault.
        """
        if not isinstance(source, str | os.PathLike):
            return cls.load(antimony.from_tellurium(source), readouts=readouts, molar_masses=molar_masses, trusted=True)
        entry = None
        if isinstance(source, str) and source in {item.name for item in catalogue.models()}:
            entry = catalogue.find_model(source)
            checked = read_sbml(entry.sbml())
        else:
            checked = read_sbml(_as_sbml(source))
            if not trusted:
                _probed(checked.sbml, checked.name)
        model = cls(
            checked,
            entry=entry,
            readouts={**(_entry_readouts(entry) if entry else {}), **(readouts or {})},
            molar_masses={**(_entry_masses(entry) if entry else {}), **(molar_masses or {})},
        )
        for name, formula in (readouts or {}).items():
            model.formula(formula, f"readout {name!r}")
        return model.variant(variant) if variant else model

    def _copy(self, values: Mapping[str, float], variant: str) -> Model:
        return Model(
            self._checked,
            description=self.description,
            entry=self._entry,
            values=values,
            readouts=self.readouts,
            molar_masses=self.molar_masses,
            variant=variant,
        )

    def variant(self, name: str) -> Model:
        """The same model with a named set of values, for example the receptor numbers of a subset."""
        if name not in self.variants:
            raise UnknownName("variant", name, self.variants, f"model {self.name!r}")
        return self._copy({**self.values, **self.variants[name]}, name)

    def with_values(self, **values: float) -> Model:
        """The same model with other parameter or initial values, in the model's units."""
        for name, value in values.items():
            self.entity(name)
            if not isinstance(value, numbers.Real) or not math.isfinite(float(value)):
                raise InputError(f"value of {name!r} must be a finite number in the model's unit, got {value!r}")
            stated = self.entity(name).value
            if value < 0.0 and stated is not None and stated > 0.0:
                raise InputError(f"value of {name!r} must not be negative (the model has {stated:g}), got {value!r}")
        return self._copy({**self.values, **{name: float(value) for name, value in values.items()}}, self.variant_name)

    @property
    def variants(self) -> Mapping[str, Mapping[str, float]]:
        """Named sets of values of a bundled model."""
        return {name: item.values for name, item in self._entry.variants.items()} if self._entry else {}

    @property
    def entry(self) -> catalogue.CatalogueEntry | None:
        """What the catalogue says about a bundled model."""
        return self._entry

    def __reduce__(self) -> tuple[Any, ...]:  # workers build their own engine, once
        arguments = (self._checked, dict(self.values), dict(self.readouts), dict(self.molar_masses))
        return (_rebuild, (*arguments, self.variant_name, self._entry.name if self._entry else ""))

    # --- what is in it --------------------------------------------------------------------------------------

    @property
    def title(self) -> str:
        return self._entry.title if self._entry else self.description.title

    @property
    def sbml(self) -> str:
        """The flat SBML text that is simulated (without the values of a variant)."""
        return self._checked.sbml

    @property
    def warnings(self) -> tuple[str, ...]:
        return self._checked.warnings

    @property
    def species(self) -> tuple[str, ...]:
        return self.description.of_kind("species")

    @property
    def parameters(self) -> tuple[str, ...]:
        return self.description.of_kind("parameter")

    @property
    def compartments(self) -> tuple[str, ...]:
        return self.description.of_kind("compartment")

    @property
    def time_unit(self) -> str:
        return self.description.time_unit

    def entity(self, name: str) -> Entity:
        """The table row of a species, parameter, compartment or reaction; `UnknownName` with the nearest."""
        found = self.description.entities.get(name)
        if found is None:
            known = self.description.entities
            raise UnknownName("species, parameter or compartment", name, known, f"model {self.name!r}")
        return found

    def formula(self, text: str, what: str = "formula", symbols: Collection[str] = ()) -> Expression:
        """A formula over this model's symbols and readouts, written out in symbols alone.

        ``symbols`` are further names it may use.
        """
        from kinetics.expression import substitute

        own = frozenset(RESERVED & self.description.entities.keys())
        parsed = parse(text if text in self.description.entities else self.readouts.get(text, text), own)
        for _ in range(8):  # a readout may name another; eight levels are more than anyone writes
            named = parsed.names & (self.readouts.keys() - self.description.entities.keys() - set(symbols))
            if not named:
                break
            parsed = substitute(parsed, {name: parse(self.readouts[name], own) for name in named})
        known = {*self.description.entities, *self.readouts}
        for name in sorted(parsed.names - {"$time"}):
            if name not in self.description.entities and name not in symbols:
                raise UnknownName(
                    "species, parameter or readout", name, known | set(symbols), f"{what} of model {self.name!r}"
                )
        return parsed

    def unit_of(self, text: str) -> str:
        """The unit of an observable: of a symbol its own, of a bundled readout the catalogue's, else ``""``."""
        if text in self.description.entities:
            return self.description.entities[text].unit
        if self._entry and text in self._entry.readouts:
            return self._entry.readouts[text].unit
        return ""

    def require(self, names: Iterable[str], given: Collection[str] = ()) -> None:
        """Refuse a result that depends on a value that neither the file nor ``given`` states.

        Raises:
            MissingValue: naming it.
        """
        if not self._checked.missing:
            return
        missing = missing_behind(self.sbml, names) - self.values.keys() - set(given)
        entities = self.description.entities
        without_law = sorted(name for name in missing if name in entities and entities[name].kind == "reaction")
        if without_law:
            raise MissingValue(
                f"reaction {without_law[0]!r} of model {self.name!r} has no kinetic law, and the requested result "
                "depends on it; expected a rate in the file"
            )
        settable = {name for name in missing if name in entities and entities[name].settable}
        if missing - settable:
            raise MissingValue(
                f"model {self.name!r} gives no value for {sorted(missing - settable)[0]!r}, which the requested result "
                "depends on and which can be stated in the file only"
            )
        if missing:
            raise MissingValue(
                f"model {self.name!r} gives no value for {', '.join(sorted(map(repr, missing)))}, "
                f"which the requested result depends on; pass it as parameters={{...}} or with with_values(...)"
            )

    def table(self) -> pd.DataFrame:
        """One row per species, parameter and compartment: value, unit, and for bundled models source and label."""
        sources = catalogue.parameter_sources(self._entry.name) if self._entry else {}
        rows = []
        for item in self.description.entities.values():
            if item.kind not in ("species", "parameter", "compartment"):
                continue
            source = sources.get(item.id)
            value = self.values.get(item.id, item.value)
            rows.append(
                {
                    "id": item.id,
                    "kind": item.kind,
                    "name": item.name,
                    "value": value,
                    "unit": item.unit,
                    "label": source.label if source else "",
                    "source": source.source if source else "",
                }
            )
        return pd.DataFrame(rows)

    def engine(self) -> Engine:
        """The compiled model, built when first needed and shared by all models of the same SBML."""
        return _engine(self._checked, self.description)

    # --- ways out -------------------------------------------------------------------------------------------

    def to_sbml(self) -> str:
        """SBML text of this model, with the values of its variant and of `with_values`."""
        return with_stated_values(self.sbml, self.values) if self.values else self.sbml

    def to_antimony(self) -> str:
        """Antimony text of this model, with its values."""
        return antimony.to_antimony(self.to_sbml())

    def to_tellurium(self) -> Any:
        """A tellurium object of this model, with its values; they are what it resets to."""
        return antimony.to_tellurium(self.to_sbml())

    def __repr__(self) -> str:
        variant = f", variant={self.variant_name!r}" if self.variant_name else ""
        counts = f"{len(self.species)} species, {len(self.parameters)} parameters"
        return f"<Model {self.name!r}{variant}: {counts}, time in {self.time_unit or 'unstated unit'}>"

    def _repr_html_(self) -> str:
        frame = self.table()
        return f"<p><b>{html.escape(self.name)}</b> {html.escape(self.title)}</p>" + frame.to_html(
            index=False, escape=True, max_rows=60
        )


def _rebuild(
    checked: CheckedModel,
    values: Mapping[str, float],
    readouts: Mapping[str, str],
    molar_masses: Mapping[str, float],
    variant: str,
    entry: str,
) -> Model:
    return Model(
        checked,
        description=_described(checked.sbml),
        entry=catalogue.find_model(entry) if entry else None,
        values=values,
        readouts=readouts,
        molar_masses=molar_masses,
        variant=variant,
    )


@functools.lru_cache(maxsize=32)
def _described(sbml: str) -> Description:
    return describe_sbml(sbml)


def _entry_readouts(entry: catalogue.CatalogueEntry) -> dict[str, str]:
    return {name: item.formula for name, item in entry.readouts.items()}


def _entry_masses(entry: catalogue.CatalogueEntry) -> dict[str, float]:
    return {species: catalogue.find_ligand(ligand).molar_mass for species, ligand in entry.ligands.items()}


def _as_sbml(source: str | os.PathLike[str]) -> str | os.PathLike[str]:
    """SBML text or path as it is; Antimony text or file translated."""
    if isinstance(source, str) and ("\n" in source or source.lstrip("\ufeff \t\r").startswith("<")):
        if source.lstrip("\ufeff \t\r\n").startswith("<"):
            return source
        return antimony.to_sbml(source)
    if isinstance(source, str) and not source.strip():
        raise InputError("expected the name of a bundled model, a file, or SBML or Antimony text, got an empty text")
    path = Path(source)
    try:
        found = path.is_file()
    except (OSError, ValueError):
        found = False
    if not found:
        if isinstance(source, str) and antimony.looks_like_antimony(source):
            return antimony.to_sbml(source)
        names = [item.name for item in catalogue.models()]
        import difflib

        near = difflib.get_close_matches(str(source), names, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"bundled models: {', '.join(names)}"
        raise ModelNotFound(f"no file or bundled model named {str(source)!r}; {hint}")
    if path.suffix.lower() in (".ant", ".txt", ".antimony"):
        try:
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError:
            raise InvalidModel(f"{path.name}: not UTF-8 text, so not Antimony") from None
        try:
            return antimony.to_sbml(text)
        except InvalidModel as error:
            raise InvalidModel(f"{path.name}: {error}") from None
    return path
