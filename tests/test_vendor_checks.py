"""The stand-ins notice requests and replies that the vendors' SDKs do not know."""

from __future__ import annotations

from typing import Any

import pytest

from tests.vendor import letta, supermemory
from tests.vendor.sdk_operations import letta_methods, supermemory_methods

ARCHIVE = "/v1/archives/archive-1"
DOCUMENTS = "/ns/ann/document"


@pytest.mark.parametrize(
    ("method", "path", "query", "body", "fault"),
    [
        ("GET", "/v1/archives/", {"limit": "5", "after": "archive-1"}, None, None),
        ("GET", "/v1/archives/", {"limits": "5"}, None, "the SDK sends no limits"),
        ("POST", f"{ARCHIVE}/passages", {}, {"text": "tea", "tags": ["a"]}, None),
        ("POST", f"{ARCHIVE}/passages", {}, {"text": "tea", "tag": ["a"]}, "the SDK sends no tag"),
        ("POST", f"{ARCHIVE}/passages", {}, {"tags": ["a"]}, "text is missing"),
        ("POST", f"{ARCHIVE}/passages", {}, ["tea"], "the body is no object"),
        ("PUT", f"{ARCHIVE}/passages", {}, {}, f"the SDK has no method for PUT {ARCHIVE}/passages"),
    ],
)
def test_request_that_lettas_sdk_would_not_send_is_noticed(
    method: str, path: str, query: dict[str, str], body: Any, fault: str | None
) -> None:
    pytest.importorskip("letta_client", reason=letta.NEEDED)
    assert letta_methods().faults_of_request(method, path, query, body) == ([] if fault is None else [fault])


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ({"content": "tea", "taskType": "superrag"}, None),
        ({"content": "tea", "task_type": "superrag"}, "the SDK sends no task_type"),
        ({"metadata": {}}, "content is missing"),
    ],
)
def test_request_that_supermemorys_sdk_would_not_send_is_noticed(body: Any, fault: str | None) -> None:
    pytest.importorskip("supermemory", reason=supermemory.NEEDED)
    faults = supermemory_methods().faults_of_request("POST", DOCUMENTS, {}, body)
    assert faults == ([] if fault is None else [fault])


@pytest.mark.parametrize("body", [{"id": 1, "status": "done"}, {"status": "done"}, [], None])
def test_reply_that_is_not_the_sdks_model_is_noticed(body: Any) -> None:
    pytest.importorskip("supermemory", reason=supermemory.NEEDED)
    methods = supermemory_methods()
    assert methods.faults_of_reply("POST", DOCUMENTS, 200, {"id": "a", "status": "done"}) == []
    assert methods.faults_of_reply("POST", DOCUMENTS, 200, body)
    assert methods.faults_of_reply("POST", DOCUMENTS, 404, body) == []
