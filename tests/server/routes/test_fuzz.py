"""A short fuzzing of a running server. `make fuzz` is the long one."""

from __future__ import annotations

from scripts.fuzz_server import Outcome, fuzz

SOME = ("addMemory", "listMemories")


def test_server_with_keys_keeps_its_contract_whatever_it_is_sent() -> None:
    outcome = Outcome()
    fuzz(outcome, keyed=True, examples=3, seed=20, phases="fuzzing", only=SOME)
    assert outcome.complaints == []
    assert outcome.requests > 10
    assert {200, 400} <= set(outcome.statuses)
