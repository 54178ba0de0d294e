"""LoCoMo conversations as memories and questions. The data is CC BY-NC 4.0 and not part of this project."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HEADLINE = frozenset({1, 2, 3, 4})
ADVERSARIAL = frozenset({5})

_SESSION = re.compile(r"session_(\d+)")
_TURN = re.compile(r"D:?(\d+):(\d+)")  # the labels hold slips such as "D8:6; D9:17" and "D:11:26"
_TIME_FORMAT = "%I:%M %p on %d %B, %Y"

TurnId = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a speaker: one memory."""

    id: TurnId
    speaker: str
    text: str
    time: datetime

    def memory(self) -> dict[str, Any]:
        """Return the arguments of `add` for this turn."""
        return {
            "content": self.text,
            "scope": f"session/{self.id[0]}",
            "tags": [self.speaker],
            "valid_from": self.time,
        }


@dataclass(frozen=True, slots=True)
class Question:
    """A question and the turns that answer it; `category` is 1 to 5."""

    text: str
    category: int
    evidence: frozenset[TurnId]


@dataclass(frozen=True, slots=True)
class Conversation:
    """One conversation: one user of the store."""

    name: str
    turns: list[Turn]
    questions: list[Question]


def load_conversations(path: Path) -> list[Conversation]:
    """Read a LoCoMo file (`locomo10.json` or a part of it)."""
    return [_conversation(item) for item in json.loads(path.read_text(encoding="utf-8"))]


def _conversation(item: dict[str, Any]) -> Conversation:
    sessions = item["conversation"]
    numbers = sorted(int(match[1]) for key in sessions if (match := _SESSION.fullmatch(key)))
    turns = [turn for number in numbers for turn in _turns(sessions, number)]
    known = frozenset(turn.id for turn in turns)
    questions = [_question(entry, known) for entry in item["qa"]]
    return Conversation(item["sample_id"], turns, [question for question in questions if question.evidence])


def _turns(sessions: dict[str, Any], number: int) -> list[Turn]:
    time = datetime.strptime(sessions[f"session_{number}_date_time"], _TIME_FORMAT).replace(tzinfo=UTC)
    return [Turn(_ids(turn["dia_id"])[0], turn["speaker"], _text(turn), time) for turn in sessions[f"session_{number}"]]


def _text(turn: dict[str, Any]) -> str:
    caption = turn.get("blip_caption")
    return f"{turn['text']} [shares photo: {caption}]" if caption else str(turn["text"])


def _question(entry: dict[str, Any], known: frozenset[TurnId]) -> Question:
    named = _ids(" ".join(entry["evidence"]))
    return Question(entry["question"], entry["category"], known.intersection(named))


def _ids(text: str) -> list[TurnId]:
    return [(int(session), int(turn)) for session, turn in _TURN.findall(text)]
