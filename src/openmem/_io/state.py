"""The form in which objects that have states show them: `<AsyncPool open, 3 of 10 connections, 1 idle, 2 waiting>`.

The state comes first, then what there is of each thing. No address with a password, no key and no text of a user is
among it, and no lock is taken: a debugger may ask at any moment, from any thread.
"""

from __future__ import annotations


def show_state(owner: object, state: str, *facts: str) -> str:
    """Return how an object shows itself.

    Args:
        owner: The object; its class is named.
        state: A word or two, such as `open`.
        facts: Further words, such as `1 idle`.
    """
    return f"<{type(owner).__name__} {', '.join((state, *facts))}>"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, which takes an `s` unless there is one."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
