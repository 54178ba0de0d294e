"""Tests that are always run in one form, and in the other form by `make test-all`.

Each file of `tests/_async` has a generated twin in `tests/_sync`. Where both go through the same code but for what
other tests prove of both forms (threads, sockets, drivers), the second run says little, and some of those runs are
long. The form that is always run differs from file to file: each vendor, and what is emulated, is met in both.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import NamedTuple

SDK = "the SDK is one and the same in both forms and both have the same workers: "


class Twin(NamedTuple):
    """A file that is run at length only.

    Attributes:
        reason: Why its twin is enough for every day.
        always: The tests of it that are run always: where the forms might differ.
        only: The tests that are run at length, if these are not all but those of `always`.
    """

    reason: str
    always: tuple[str, ...] = ()
    only: tuple[str, ...] = ()

    @property
    def named(self) -> tuple[str, ...]:
        """All tests that are named."""
        return self.always + self.only


AT_LENGTH = {
    "tests/_async/test_letta_conformance.py": Twin(
        SDK + "the kit meets Letta in the sync form, supermemory in the async one",
        always=("test_any_order_of_calls_agrees_with_a_dictionary",),
    ),
    "tests/_sync/test_supermemory_conformance.py": Twin(
        SDK + "the kit meets supermemory in the async form, Letta in the sync one",
        always=("test_any_order_of_calls_agrees_with_a_dictionary",),
    ),
    "tests/_async/test_letta_batches.py": Twin(
        SDK + "what an export reads of an archive is counted in the sync form",
        always=("test_250_memories_are_three_requests", "test_batch_that_fails_is_taken_back"),
    ),
    "tests/_async/test_letta.py": Twin(
        "it asks the part of the provider that both forms have",
        only=("test_every_one_of_10000_passages_of_one_moment_is_reached",),
    ),
    "tests/_sync/test_postgres_hnsw.py": Twin(
        "the rules of the index are statements, which are the same in both forms",
        always=(
            "test_index_finds_as_many_as_asked_for_and_nearly_always_the_nearest",
            "test_index_gives_the_largest_answer_in_full",
            "test_index_that_was_not_asked_for_is_not_used",
            "test_index_is_made_at_the_first_use_of_a_model",
            "test_index_that_has_proved_itself_answers_alone",
            "test_model_may_have_any_name",
        ),
    ),
    "tests/_async/test_hostile_fields.py": Twin(
        "replies are read by the same functions in both forms, and tests/_async/test_hostile_peers.py meets both",
        always=("test_good_reply_is_taken",),
    ),
}
"""By the path of a file."""


def is_at_length(path: str, name: str) -> bool:
    """Say whether a test is left to the long run.

    Args:
        path: The file, from the root of the repository, with `/`.
        name: The test's name, with or without its parameters.
    """
    twin, name = AT_LENGTH.get(path), name.partition("[")[0]
    if twin is None:
        return False
    return name in twin.only if twin.only else name not in twin.always


def twin_of(path: str) -> str:
    """Return the file of the other form."""
    parts = [{"_sync": "_async", "_async": "_sync"}.get(part, part) for part in PurePosixPath(path).parts]
    return "/".join(parts)


def names_in(source: str) -> set[str]:
    """Return the names of the tests that a file defines."""
    return set(re.findall(r"^ *(?:async )?def (test_\w+)", source, re.MULTILINE))
