"""The fields of the public models as the rows of a table: what docs/types.md must say of them."""

from __future__ import annotations

import types
from datetime import datetime
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import AwareDatetime
from pydantic.fields import FieldInfo

import openmem._model.retention
import openmem.types
from openmem.types import OMPModel

_WORDS: dict[Any, str] = {
    AwareDatetime: "time",
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    datetime: "time",
}


def models() -> dict[str, type[OMPModel]]:
    """Return every public model by its name, in the order in which they are written."""
    found = [*vars(openmem.types).values(), openmem._model.retention.MaintenanceReport]
    kinds = [each for each in found if isinstance(each, type) and issubclass(each, OMPModel) and each is not OMPModel]
    return {kind.__name__: kind for kind in kinds if not kind.__name__.startswith("_")}


def row_of(name: str, field: FieldInfo) -> tuple[str, str, str]:
    """Return the name of a field, what it holds, and what it is if nothing was given."""
    kinds = [part for part in _parts(field.annotation) if part is not type(None)]
    absent = "required" if field.is_required() else _default(field)
    return f"`{name}`", " or ".join(_word(kind) for kind in kinds), absent


def _parts(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)


def _default(field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True)
    return "none" if default is None else "empty" if default in ([], {}) else f"`{str(default).lower()}`"


def _word(annotation: Any) -> str:
    if annotation in _WORDS:
        return _WORDS[annotation]
    if get_origin(annotation) is Literal:
        return "one of " + ", ".join(f"`{value}`" for value in get_args(annotation))
    inner = get_args(annotation)
    if get_origin(annotation) is list:
        return f"list of {_word(inner[0])}"
    if get_origin(annotation) is dict:
        return "object" if inner[1] is Any else f"object of {_word(inner[1])}"
    if hasattr(annotation, "__metadata__"):
        return _word(inner[0])
    return f"`{annotation.__name__}`"
