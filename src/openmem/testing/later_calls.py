"""Valid calls that make use of the arguments which came later than the contract of providers."""

from __future__ import annotations

from typing import Any, Final

from openmem.testing.bad_input import AN_ID
from openmem.testing.embedder import HashEmbedder

KEY: Final = "tea"
"""The key of the memory that `AN_ID` stands for, where there are keys."""

VECTOR: Final = {"model": HashEmbedder().model, "vector": HashEmbedder().embed(["likes milk"])[0]}
"""A vector of the model of the kit's embedder."""
WHERE: Final = {"lang": {"$exists": False}}
"""A filter that memories without metadata fulfil."""

LATER_CALLS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "by_key": [
        ("get", {"key": KEY}),
        ("update", {"key": KEY, "confidence": 0.5}),
        ("history", {"key": KEY}),
        ("delete", {"key": KEY}),
    ],
    "if_absent": [
        ("add", {"content": "likes milk", "key": "milk", "if_absent": True}),
        ("add_many", {"items": [{"content": "likes milk", "key": "milk", "if_absent": True}]}),
    ],
    "if_version": [
        ("add", {"content": "likes milk", "key": KEY, "if_version": 1}),
        ("add_many", {"items": [{"content": "likes milk", "key": KEY, "if_version": 1}]}),
    ],
    "metadata": [
        ("add", {"content": "likes milk", "metadata": {"a": 1}}),
        ("add_many", {"items": [{"content": "likes milk", "metadata": {}}]}),
        ("update", {"id": AN_ID, "metadata": None}),
    ],
    "metadata_patch": [("update", {"id": AN_ID, "metadata_patch": {}})],
    "order": [("list", {"order": "updated"})],
    "descending": [("list", {"descending": False})],
    "where": [
        ("list", {"where": WHERE}),
        ("search", {"query": "tea", "where": WHERE}),
        ("context", {"query": "tea", "where": WHERE}),
        ("delete_all", {"where": WHERE}),
    ],
    "offset": [("search", {"query": "tea", "offset": 1})],
    "limit above 100": [("search", {"query": "tea", "limit": 101})],
    "embedding": [
        ("add", {"content": "likes milk", "embedding": VECTOR}),
        ("add_many", {"items": [{"content": "likes milk", "embedding": VECTOR}]}),
        ("update", {"id": AN_ID, "content": "likes milk", "embedding": VECTOR}),
        ("search", {"query": "milk", "embedding": VECTOR}),
    ],
    "searchable": [
        ("add", {"content": "likes milk", "searchable": False}),
        ("add_many", {"items": [{"content": "likes milk", "searchable": False}]}),
        ("update", {"id": AN_ID, "searchable": False}),
    ],
}
"""By argument: verbs, and what they are given beside a `user_id`. Where verbs need another declaration, see `NEEDS`."""
