"""The frame around every public verb: errors that end where the caller stands, and name what was meant."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

from openmem._text.misspellings import explain_call, innermost
from openmem.errors import OMPError

F = TypeVar("F", bound=Callable[..., Any])


def verb(function: F) -> F:
    """Make a method a verb.

    A traceback then shows the caller's line and the one that raised; the `__cause__` keeps its own whole. A
    keyword that the method does not have is a `TypeError` that says which may be meant.
    """

    @functools.wraps(function)
    async def call(self: Any, *given: Any, **named: Any) -> Any:
        try:
            return await function(self, *given, **named)
        except OMPError as error:
            error.__traceback__ = innermost(error.__traceback__)
            raise
        except TypeError as error:
            wrong = explain_call(function, named, error)
            if wrong is None:
                raise
            raise TypeError(wrong) from None

    return cast(F, call)


def plain_verb(function: F) -> F:
    """Do the same for a method that returns at once in both forms."""

    @functools.wraps(function)
    def call(self: Any, *given: Any, **named: Any) -> Any:
        try:
            return function(self, *given, **named)
        except OMPError as error:
            error.__traceback__ = innermost(error.__traceback__)
            raise
        except TypeError as error:
            wrong = explain_call(function, named, error)
            if wrong is None:
                raise
            raise TypeError(wrong) from None

    return cast(F, call)
