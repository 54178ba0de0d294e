"""Write src/openmem/_text/confusables.py: which characters look like one of ASCII, for the fence of a context.

    python -P scripts/look_alikes.py confusables.json

The file is that of the package `confusable-homoglyphs`: the table of Unicode Technical Standard #39 as JSON. To it come
letters whose names say which letter of ASCII they are drawn from, and the signs below, which that table lacks. Letters
whose compatibility form says it (full width, mathematical, with accents) are left out: that is looked up at run time.
"""

from __future__ import annotations

import json
import re
import string
import sys
import unicodedata
from pathlib import Path

OUTPUT = Path(__file__).resolve().parent.parent / "src/openmem/_text/confusables.py"

# Drawn like a sign of the frame, or close enough to be read as one. These win over the table.
SIGNS = {
    "<": "‹❮˂𝈶ᐸᚲ⟨〈❬❰⦉⦑⧼⪪≺⋖◁◃⊲⊰«《⟪≪⋘⪡",
    ">": "›❯˃𝈷ᐳ𖼿⟩〉❭❱⦊⦒⧽⪫≻⋗▷▹⊳⊱»》⟫≫⋙⪢",
    "[": "【〔〖〘〚⟦⟬❲⁅⦋⦍⦏⸢",
    "]": "】〕〗〙〛⟧⟭❳⁆⦌⦎⦐⸣",
    "(": "❨❪⸨﴾⦅⟮",
    ")": "❩❫⸩﴿⦆⟯",
    "/": "᜵⁁∕⁄╱⟋⧸𝈺㇓〳Ⳇノ丿⼃⫽",
    "\\": "∖⟍⧵⧹╲𝈏𝈻㇔丶⼂",
    "|": "∣ǀ│┃❘❙❚⏐¦‖∥╎╏⎸⎹⼁",
    "#": "♯⌗⋕⧣",
    "`": "ˋ‵˴՝",
    "~": "˜∼〜⁓∿∾〰῀",
    "-": "‐‑‒–—―−⁃˗➖Ⲻ﹘",
    "_": "▁‿⁔﹍﹎﹏",
    ":": "ːः։׃᛬᠃᠉⁚˸꞉∶⦂፡",
    ",": "‚¸ꓹ،、",
    '"': "“”‟ʺ〃〝〞״❝❞",  # no primes: f‴ is a derivative
    "'": "‘’‛ʼʻ❛❜",
}
# Alphabets without a compatibility form: negative circled, negative squared, regional indicators; in parentheses, which
# their compatibility form adds; and outlined, which not every Python knows.
ALPHABETS = (0x1F150, 0x1F170, 0x1F1E6, 0x249C, 0x1F110, 0x1CCD6)
# Read as the letter all the same, though the table has another opinion: it takes an m for r and n.
LETTERS = {"m": "мⅿ₥ϻ", "t": "тτ", "k": "кκ", "n": "пη", "h": "нһ", "b": "вʙ", "e": "єεҽ", "y": "уγ", "w": "ωш"}
_NAME = re.compile(r"LATIN (?:SMALL LETTER|CAPITAL LETTER|LETTER SMALL CAPITAL) ([A-Z])(?: WITH .+)?")


def plain(text: str) -> str:
    """Return the text in lower case, in its compatibility form, without marks."""
    parts = unicodedata.normalize("NFKD", text.casefold())
    return "".join(sign for sign in parts if not unicodedata.category(sign).startswith("M")).casefold()


def table(known: dict[str, list[dict[str, str]]]) -> dict[str, str]:
    """Return the character of ASCII that each of the others looks like."""
    found: dict[str, str] = {}
    for code in range(0x80, sys.maxunicode + 1):
        name = _NAME.fullmatch(unicodedata.name(chr(code), ""))
        if name:
            found[chr(code)] = name[1].lower()
    for sign, others in known.items():
        alike = {plain(other["c"]) for other in others} & set(string.ascii_lowercase)
        if len(sign) == 1 and alike and not sign.isdecimal():
            found.setdefault(sign, "l" if "l" in alike else min(alike))
    for start in ALPHABETS:
        found |= {chr(start + place): letter for place, letter in enumerate(string.ascii_lowercase)}
    for letter, signs in (LETTERS | SIGNS).items():
        found |= dict.fromkeys(signs, letter)
    beyond = [chr(code) for code in range(0x80, sys.maxunicode + 1)]
    found |= {sign: plain(sign) for sign in beyond if plain(sign) in SIGNS and sign not in found}
    told = {sign: letter for sign, letter in found.items() if letter in SIGNS or plain(sign) != letter}
    return {sign: letter for sign, letter in told.items() if not sign.isascii()}


def main() -> None:
    """Read the table and write the module."""
    known = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    groups: dict[str, list[str]] = {}
    for sign, letter in sorted(table(known).items()):
        groups.setdefault(letter, []).append(sign)
    lines = [
        '"""Characters that look like one of ASCII. Written by scripts/look_alikes.py; do not edit.',
        "",
        "The source is the table of Unicode Technical Standard #39 (confusables.txt), see the terms of use of Unicode.",
        '"""',
        "",
        "from __future__ import annotations",
        "",
        "from typing import Final",
        "",
        "LOOK_ALIKES: Final[dict[str, str]] = {",
    ]
    for letter, signs in sorted(groups.items()):
        escaped = [sign.encode("unicode_escape").decode() for sign in signs]
        rows = [escaped[start : start + 10] for start in range(0, len(escaped), 10)]
        lines += [f"    {json.dumps(letter)}: ("] + [f'        "{"".join(row)}"' for row in rows] + ["    ),"]
    OUTPUT.write_text("\n".join([*lines, "}", ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
