"""Events that the start of a period sets off.

The engine looks for triggers while it integrates; a condition that turns a trigger true between two integrations
goes unseen.  PEtab v2 wants such an event to fire, so it is done here, by the rules of SBML Level 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from kinetics.errors import UnsupportedModel
from kinetics.expression import Expression

if TYPE_CHECKING:
    from kinetics.description import Event
    from kinetics.model import Model

MOST_ROUNDS = 1000  # events that set each other off for ever are a fault of the model

Evaluate = Callable[[Expression], float]


def triggers(events: Sequence[Event], value: Evaluate) -> tuple[bool, ...]:
    """Whether each trigger holds now; a trigger that cannot be read counts as false."""
    return tuple(not isinstance(event.trigger, str) and value(event.trigger) != 0.0 for event in events)


def fire(
    model: Model, before: tuple[bool, ...], value: Evaluate, assign: Callable[[Mapping[str, float]], None]
) -> None:
    """Execute the events whose trigger has turned true since ``before``, and those they set off in turn.

    Higher priority goes first; assignments of one event are simultaneous.

    Raises:
        UnsupportedModel: such an event has a delay, or a formula that cannot be evaluated here.
    """
    events = model.description.events
    pending: list[tuple[int, dict[str, float] | None]] = []
    for _ in range(MOST_ROUNDS):
        now = triggers(events, value)
        for index, event in enumerate(events):
            if now[index] and not before[index]:
                pending.append((index, _values(model, event, value) if event.at_trigger else None))
        before = now
        pending = [(index, values) for index, values in pending if events[index].persistent or now[index]]
        if not pending:
            return
        ranks = [_priority(events[index], value) for index, _ in pending]
        index, values = pending.pop(ranks.index(max(ranks)))
        assign(values if values is not None else _values(model, events[index], value))
    raise UnsupportedModel(f"model {model.name!r}: its events set each other off more than {MOST_ROUNDS} times")


def _priority(event: Event, value: Evaluate) -> float:
    return value(event.priority) if isinstance(event.priority, Expression) else -math.inf


def _values(model: Model, event: Event, value: Evaluate) -> dict[str, float]:
    name = event.id or "without id"
    if event.delayed:
        raise UnsupportedModel(
            f"model {model.name!r}: event {name!r} has a delay and is set off by the start of a period; "
            "only events without delay can be"
        )
    values = {}
    for target, formula in event.assignments:
        if isinstance(formula, str):
            raise UnsupportedModel(f"model {model.name!r}: event {name!r} cannot be evaluated: {formula}")
        values[target] = value(formula)
    return values
