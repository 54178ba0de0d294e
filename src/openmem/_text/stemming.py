"""The English Snowball stemmer, loaded when the first word is stemmed.

The package of the stemmers loads those of all its languages at once, which takes longer than to start a command. So
the English one is taken from its folder; where that has another form, or holds the faster stemmers written in C, the
package is asked as usual.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Final

_PACKAGE: Final = "snowballstemmer"
_ALIAS: Final = "openmem._snowball"  # a name of our own: no other code finds a package that is only half there


def english_stemmer() -> Any:
    """Return a new stemmer. It keeps the word that it works on, so threads must not share one."""
    return _maker()()


@cache
def _maker() -> Callable[[], Any]:
    spec = find_spec(_PACKAGE)
    folders = spec.submodule_search_locations if spec is not None else None
    if folders and find_spec("Stemmer") is None and _PACKAGE not in sys.modules:
        package = ModuleType(_ALIAS)
        package.__path__ = [*folders]
        sys.modules.setdefault(_ALIAS, package)
        try:
            return import_module(f"{_ALIAS}.english_stemmer").EnglishStemmer  # type: ignore[no-any-return]
        except (ImportError, AttributeError):
            sys.modules.pop(_ALIAS, None)
    stemmer = import_module(_PACKAGE).stemmer
    return lambda: stemmer("english")
