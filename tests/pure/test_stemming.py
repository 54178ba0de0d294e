"""The stemmer that is taken alone is the one of the package."""

from __future__ import annotations

import subprocess
import sys

import snowballstemmer

from openmem._text.stemming import english_stemmer

WORDS = ("running runs ran ponies caresses generously skis dying communication ies s sky news proceed teas").split()  # noqa: SIM905


def test_stems_are_those_of_the_package() -> None:
    reference = snowballstemmer.stemmer("english")
    assert [english_stemmer().stemWord(word) for word in WORDS] == reference.stemWords(WORDS)


def test_one_stemmer_is_loaded_and_the_package_stays_whole_for_others() -> None:
    code = f"""
import sys
from openmem._text.stemming import english_stemmer
mine = [english_stemmer().stemWord(word) for word in {WORDS!r}]
assert "snowballstemmer" not in sys.modules and english_stemmer() is not english_stemmer()
import snowballstemmer
assert len(snowballstemmer.algorithms()) > 20
assert snowballstemmer.stemmer("english").stemWords({WORDS!r}) == mine
"""
    subprocess.run([sys.executable, "-c", code], check=True)
