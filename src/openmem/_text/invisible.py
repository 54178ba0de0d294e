"""Takes out of a text what shows nothing but can hide a word, turn the reading direction or carry another text.

These are the characters with Unicode's property Default_Ignorable_Code_Point, those that control the layout, and a few
that are drawn as a blank. Some have a use: they choose how an emoji, an ideograph or a letter looks, or join two of
them. Such a one stays where it has that use, alone, so that there are never more of them than of what they belong to.
"""

from __future__ import annotations

import re
from typing import Final

# DerivedCoreProperties.txt of the Unicode Character Database; the same in the versions 5.2 to 17.
DEFAULT_IGNORABLE: Final = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
# The other characters of the category Cf: annotations, hieroglyphs, signs that enclose the figures behind them.
LAYOUT: Final = "\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f"
# Drawn as a blank: of Braille, a note without a head, a filler of Khitan, a joiner of Tifinagh.
BLANK: Final = "\u2800\U0001d159\U00016fe4\u2d7f"
INVISIBLE: Final = DEFAULT_IGNORABLE + LAYOUT + BLANK
INVISIBLE_IN_PLANE_0: Final = re.sub("[\U00010000-\U0010ffff]-?", "", INVISIBLE)

_EMOJI: Final = (
    "\u00a9\u00ae\u203c\u2049\u2122\u2139\u2190-\u21ff\u2300-\u23ff\u24c2\u25aa-\u27bf\u2934\u2935\u2b05-\u2b55"
    "\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
)
_IDEOGRAPH: Final = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_MONGOLIAN: Final = "\u1820-\u18aa"
# Scripts whose letters change by joiners: Arabic to Sinhala, Lao to Georgian, Khmer to Mongolian, and later blocks.
_JOINED: Final = (
    "\u0620-\u06dc\u06de-\u06ff\u0710-\u088f\u0892-\u08e1\u08e3-\u08ff\u0900-\u0dff\u0e80-\u109f\u1780-\u17b3\u17b6-\u180a"
    "\u1820-\u18aa\u1900-\u1cff\ua840-\ua877\ua8e0-\uabff\ufb50-\ufdff\ufe70-\ufefc\U00010a00-\U000110bc\U000110ce-\U00011fff"
    "\U0001e900-\U0001e95f"
)
_VIRAMA: Final = "\u094d\u09cd\u0a4d\u0acd\u0b4d\u0bcd\u0c4d\u0ccd\u0d4d\u0dca\u1039\u17d2"
_BRAILLE: Final = "\u2801-\u28ff"
# Each is a use: what stands before the character, the character, and what must stand behind it.
_USES: Final = (
    f"[{_EMOJI}][\ufe0e\ufe0f]",
    "[0-9#*]\ufe0f(?=\u20e3)",
    f"[{_EMOJI}]\u200d(?=[{_EMOJI}])",
    f"[{_EMOJI}]\ufe0f\u200d(?=[{_EMOJI}])",
    f"[{_IDEOGRAPH}][\ufe00-\ufe02\U000e0100-\U000e01ef]",
    f"[{_MONGOLIAN}][\u180b-\u180d\u180f]",
    f"[{_MONGOLIAN}]\u180e(?=[{_MONGOLIAN}])",
    "[\u1000-\u109f\u2200-\u22ff\ua840-\ua877\U00010ac0-\U00010aff]\ufe00",
    f"[{_JOINED}][\u200c\u200d](?=[{_JOINED}])",
    f"[{_VIRAMA}]\u200d(?![!-~])",
    f"[{_BRAILLE}]\u2800(?=[{_BRAILLE}])",
    "[^!-~][\u0600-\u0605\u06dd\u08e2](?=[\u0660-\u0669\u06f0-\u06f9])",
    "[\u0710-\u074f]\u070f(?=[\u0710-\u074f])",
    "[\U00013000-\U0001342f][\U00013430-\U0001343f](?=[\U00013000-\U0001342f])",
)
_STRAY: Final = re.compile(f"[{INVISIBLE}]" + "".join(f"(?<!{use})" for use in _USES))

_FLAG: Final = "\U0001f3f4"
# The only sequences of tags that show anything: England, Scotland, Wales.
_COUNTRIES: Final = ("".join(chr(0xE0000 + ord(letter)) for letter in name) for name in ("gbeng", "gbsct", "gbwls"))
_FLAGS: Final = re.compile(f"({_FLAG}(?:{'|'.join(_COUNTRIES)})\U000e007f)")


def without_invisible(text: str) -> str:
    """Return the text without what shows nothing and has no use where it stands."""
    if _FLAG not in text:
        return _STRAY.sub("", text)
    parts = _FLAGS.split(text)
    return "".join(part if index % 2 else _STRAY.sub("", part) for index, part in enumerate(parts))
