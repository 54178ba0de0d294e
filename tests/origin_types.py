"""The types of the protocol's first client, as its documentation prints them: closed lists, open to more members.

They stand for programs that were written against the protocol, not against this server. Nothing of openmem is used.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Verb = Literal["add", "search", "get", "update", "delete", "list", "context", "audit"]
Action = Literal["add", "search", "get", "update", "delete", "list", "context"]
Score = Annotated[float, Field(ge=0, le=1)]


class OriginModel(BaseModel):
    """Takes more members than it knows, and no value of another type."""

    model_config = ConfigDict(extra="allow", strict=True)


class Source(OriginModel):
    app: str | None = None
    type: Literal["extracted", "explicit", "imported"] | None = None
    ref: str | None = None


class Record(OriginModel):
    id: str
    content: str
    user_id: str
    created_at: datetime
    scope: str | None = None
    tags: list[str] | None = None
    source: Source | None = None
    confidence: Score | None = None
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    supersedes: list[str] | None = None
    embedding_model: str | None = None
    updated_at: datetime | None = None
    status: Literal["queued", "indexing", "done", "failed"] | None = None


class Page(OriginModel):
    items: list[Record]
    next_cursor: str | None = None


class Result(OriginModel):
    memory: Record
    score: Score


class Results(OriginModel):
    results: list[Result]


class Citation(OriginModel):
    memory_id: str
    score: Score


class Block(OriginModel):
    text: str
    citations: list[Citation]
    token_count: int | None = None


class Features(OriginModel):
    vector_search: bool | None = None
    keyword_search: bool | None = None
    graph_queries: bool | None = None
    temporal: bool | None = None
    scopes: Literal["native", "tags", "none"] | None = None
    max_content_length: int | None = None
    supports_e2e: bool | None = None
    supports_audit: bool | None = None
    supports_supersession: bool | None = None


class Limits(OriginModel):
    rate_limit_per_minute: int | None = None
    max_search_results: int | None = None


class Able(OriginModel):
    omp_version: str
    provider: str
    verbs: list[Verb]
    features: Features
    limits: Limits | None = None


class Entry(OriginModel):
    timestamp: datetime | None = None
    app: str | None = None
    action: Action | None = None
    memory_id: str | None = None
    scope: str | None = None
    request_id: str | None = None


class Entries(OriginModel):
    entries: list[Entry]


class Trouble(OriginModel):
    # The list of codes is open: the first client reads a code that it does not know as that of a ProviderError.
    code: str
    message: str
    type: Literal["auth", "not_found", "invalid", "rate_limited", "provider_error"]
    provider: str | None = None
    request_id: str | None = None


class Failure(OriginModel):
    error: Trouble
