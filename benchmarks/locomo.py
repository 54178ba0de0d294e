"""Retrieval on real conversations: `python -m benchmarks.locomo PATH`.

One conversation is one user and each turn one memory, stored with the public `add_many` and found with the public
`search`. What the figures mean stands in docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from benchmarks.conversations import ADVERSARIAL, HEADLINE, Conversation, Question, TurnId, load_conversations
from benchmarks.minilm import HOW_TO_INSTALL, CachedEmbedder, minilm
from benchmarks.retrieval_scores import DEPTH, Scores, mean, score

from openmem import AsyncMemory

LEAST_KEYWORDS = 66.0
LEAST_MINILM = 74.0
_MINUTES = 1800.0
_HEAD = "                     recall@5  recall@10  hit@10    MRR  nDCG@10 | cat. 5 R@10 | search p50   add_many"


@dataclass(slots=True)
class Outcome:
    """The scores of one way of searching; `rows_per_second` only where the store was filled for it."""

    name: str
    least: float | None = None
    headline: list[Scores] = field(default_factory=list)
    adversarial: list[Scores] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    rows_per_second: float | None = None

    @property
    def passed(self) -> bool:
        """Whether recall@10 is at least what it should be."""
        return self.least is None or mean(self.headline).recall_10 >= self.least

    def line(self) -> str:
        """Return the line of the table."""
        s = mean(self.headline)
        other = f"{mean(self.adversarial).recall_10:11.1f}" if self.adversarial else f"{'-':>11}"
        rows = f"{self.rows_per_second:6.0f} rows/s" if self.rows_per_second else ""
        return (
            f"{self.name:<20} {s.recall_5:8.1f} {s.recall_10:10.1f} {s.hit_10:7.1f} {s.mrr:6.1f} {s.ndcg_10:8.1f} "
            f"| {other} | {1000 * statistics.median(self.seconds):7.2f} ms  {rows}"
        ).rstrip()


async def run(
    conversations: Sequence[Conversation],
    embedder: Any,
    outcomes: dict[Literal["hybrid", "vector"], Outcome],
) -> None:
    """Fill a new store, then ask every question in each of the modes."""
    with tempfile.TemporaryDirectory() as folder:
        async with AsyncMemory(url=str(Path(folder, "locomo.db")), embedder=embedder, app="benchmark") as memory:
            await memory.add(content="warm up", user_id="nobody", timeout=_MINUTES)
            turn_of, rate = await _fill(memory, conversations)
            outcomes["hybrid"].rows_per_second = rate
            for mode, outcome in outcomes.items():
                for conversation in conversations:
                    for question in conversation.questions:
                        await _ask(memory, conversation.name, question, mode, turn_of, outcome)


async def _fill(memory: AsyncMemory, conversations: Sequence[Conversation]) -> tuple[dict[str, TurnId], float]:
    turn_of: dict[str, TurnId] = {}
    seconds = 0.0
    for conversation in conversations:
        items: list[Any] = [turn.memory() for turn in conversation.turns]
        print(f"  storing {len(items)} turns of {conversation.name} ...", file=sys.stderr, flush=True)
        start = time.perf_counter()
        records = await memory.add_many(items, user_id=conversation.name, timeout=_MINUTES)
        seconds += time.perf_counter() - start
        turn_of |= {record.id: turn.id for record, turn in zip(records, conversation.turns, strict=True)}
    return turn_of, len(turn_of) / seconds


async def _ask(
    memory: AsyncMemory,
    user_id: str,
    question: Question,
    mode: Literal["hybrid", "vector"],
    turn_of: dict[str, TurnId],
    outcome: Outcome,
) -> None:
    start = time.perf_counter()
    results = await memory.search(question.text, user_id, limit=DEPTH, mode=mode)
    outcome.seconds.append(time.perf_counter() - start)
    scores = score([turn_of[result.memory.id] for result in results], question.evidence)
    if question.category in HEADLINE:
        outcome.headline.append(scores)
    elif question.category in ADVERSARIAL:
        outcome.adversarial.append(scores)


async def measure(conversations: Sequence[Conversation], cache: Path | None) -> list[Outcome]:
    """Measure keywords only, and MiniLM if its packages are there."""
    keywords = Outcome("keywords only", LEAST_KEYWORDS)
    print("keywords only", file=sys.stderr)
    await run(conversations, "none", {"hybrid": keywords})
    choice = minilm()
    if choice is None:
        return [keywords]
    print("MiniLM", file=sys.stderr)
    hybrid, vector = Outcome("MiniLM, hybrid", LEAST_MINILM), Outcome("MiniLM, vector only")
    embedder = choice if cache is None else CachedEmbedder(choice, cache)
    await run(conversations, embedder, {"hybrid": hybrid, "vector": vector})
    return [keywords, hybrid, vector]


def report(conversations: Sequence[Conversation], outcomes: Sequence[Outcome]) -> None:
    """Print the table and what each limit says."""
    turns, asked = sum(len(c.turns) for c in conversations), len(outcomes[0].headline)
    print(f"\nLoCoMo, {len(conversations)} conversations, {turns} turns, {asked} questions of categories 1-4\n")
    print(_HEAD)
    for outcome in outcomes:
        print(outcome.line())
    print()
    for outcome in outcomes:
        if outcome.least is not None:
            verdict, reached = "PASS" if outcome.passed else "MISS", mean(outcome.headline).recall_10
            print(f"{verdict}  {outcome.name}: recall@10 of {reached:.1f}, at least {outcome.least}")
    if len(outcomes) == 1:
        print(f"skip  MiniLM: some packages are missing. {HOW_TO_INSTALL}")


def main() -> int:
    """Run the benchmark and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.locomo", description=__doc__.partition("\n")[0])
    parser.add_argument("path", type=Path, help="locomo10.json, or a part of it")
    parser.add_argument("--cache", type=Path, metavar="FILE", help="keep the vectors of the turns in this .npz file")
    options = parser.parse_args()
    conversations = load_conversations(options.path)
    outcomes = asyncio.run(measure(conversations, options.cache))
    report(conversations, outcomes)
    return 0 if all(outcome.passed for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
