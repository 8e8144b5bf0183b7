"""Examples of docstrings as code: the site would take ``['1 nM', '10 nM']`` for a link."""

from __future__ import annotations

import re
from typing import Any

import griffe

# From a line that begins with >>> to the next empty line, with its indentation.
_EXAMPLE = re.compile(r"^([ \t]*)(>>> [^\n]*(?:\n(?![ \t]*$)[^\n]*)*)", re.MULTILINE)


class Doctests(griffe.Extension):
    """Puts fences around examples."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        if obj.docstring is not None and ">>> " in obj.docstring.value:
            obj.docstring.value = _EXAMPLE.sub(r"\1```pycon\n\1\2\n\1```", obj.docstring.value)
