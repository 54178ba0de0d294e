"""Unicode normal forms in time that grows with the text, even a hostile one.

To normalise means to sort the marks behind each letter, and CPython sorts a run of n of them in n² steps. So runs are
bounded first, as the Stream-Safe Text Format of Unicode has it (UAX #15, section 13): no more than 30 non-starters
behind one another. Those beyond it are dropped instead of being set apart by a joiner: no language has so many, and
here normal forms serve to compare texts, never to store one.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final, Literal, TypeAlias

Form: TypeAlias = Literal["NFC", "NFD", "NFKC", "NFKD"]

MAX_MARKS: Final = 30

# Every mark is among these, besides much else; U+FF9E and U+FF9F are letters whose compatibility form is a mark.
_PERHAPS_MARKS: Final = re.compile(rf"[\W\uff9e\uff9f]{{{MAX_MARKS + 1},}}")


def normalized(form: Form, text: str) -> str:
    """Return a normal form of a text, without the marks beyond the 30th of a run."""
    return text if text.isascii() else unicodedata.normalize(form, bounded_marks(text))


def bounded_marks(text: str) -> str:
    """Return the text without the marks (non-starters) beyond the 30th of a run."""
    return text if text.isascii() else _PERHAPS_MARKS.sub(_bounded, text)


def is_mark(sign: str) -> bool:
    """Return whether a character's compatibility form begins with a mark, so that it prolongs a run of them."""
    return unicodedata.combining(unicodedata.normalize("NFKD", sign)[0]) > 0


def _bounded(match: re.Match[str]) -> str:
    run = match[0]
    marks = {sign for sign in set(run) if is_mark(sign)}
    if not marks:
        return run
    kept: list[str] = []
    length = 0
    for sign in run:
        length = length + 1 if sign in marks else 0
        if length <= MAX_MARKS:
            kept.append(sign)
    return "".join(kept)
