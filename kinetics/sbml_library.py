"""libSBML, made whole again after tellurium.

tellurium imports libSEDML, whose Python wrapper registers its own classes for types it shares with libSBML's.
From then on libSBML hands out objects of the wrong module, which its own functions refuse.  Registering
libSBML's classes again gives the state that tellurium itself ends up with when libSBML is imported after it.
"""

from __future__ import annotations

import sys
from typing import Any


def libsbml_module() -> Any:
    """The module ``libsbml``, in working order; imported when first needed (0.1 s)."""
    import libsbml

    if "libsedml" in sys.modules and type(libsbml.ASTNode().deepCopy()) is not libsbml.ASTNode:
        inside = libsbml._libsbml
        suffix = "_swigregister"
        for name in dir(inside):
            if name.endswith(suffix) and hasattr(libsbml, name.removesuffix(suffix)):
                getattr(inside, name)(getattr(libsbml, name.removesuffix(suffix)))
    return libsbml
