from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from openmem._async.embedders import AsyncEmbedder, AsyncLocalEmbedder, resolve_embedder
from openmem._embedding.choices import OpenAIEmbedder
from openmem._io.concurrency.call import Deadline
from openmem.errors import (
    DeadlineExceededError,
    InvalidRequestError,
    OMPError,
    ProviderError,
    ProviderUnavailableError,
    RateLimitedError,
    UnauthorizedError,
)
from tests.openai_stub import BAD_JSON, DIM, DROP, HANG, OpenAIStub, fault, vector_of

KEY = "sk-secret-4711"


@pytest.fixture
def stub() -> Iterator[OpenAIStub]:
    with OpenAIStub() as server:
        yield server


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


class Own:
    """A user's embedder: counts letters."""

    dim = 3
    model = "letters"

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def embed(self, texts: list[str]) -> Any:
        self.calls.append(texts)
        return [[text.count(letter) for letter in "abc"] for text in texts]


def resolved(spec: Any, **options: Any) -> AsyncEmbedder:
    embedder = resolve_embedder(spec, **options)
    assert embedder is not None
    return embedder


def remote(stub: OpenAIStub, **options: Any) -> AsyncEmbedder:
    return resolved(OpenAIEmbedder("small", api_key=KEY, base_url=stub.url, **options))


def expected(texts: list[str]) -> Any:
    rows = np.array([vector_of(text) for text in texts])
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def limit(seconds: float = 10.0) -> Deadline:
    return Deadline.after(seconds)


# --- choosing ---


def test_none_by_name_is_no_embedder() -> None:
    assert resolve_embedder("none") is None


def test_no_choice_is_the_local_model_only_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastembed", None)
    assert resolve_embedder(None) is None
    pretended = type(sys)("fastembed")
    pretended.__spec__ = sys.__spec__
    monkeypatch.setitem(sys.modules, "fastembed", pretended)
    embedder = resolve_embedder(None)
    assert isinstance(embedder, AsyncLocalEmbedder)
    assert (embedder.model, embedder.dim) == ("BAAI/bge-small-en-v1.5", 384)


def test_local_model_that_is_not_installed_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastembed", None)
    with pytest.raises(InvalidRequestError, match=r"pip install 'openmem-sdk\[local\]'"):
        resolve_embedder("fastembed")


def test_vendor_without_a_key_says_what_to_set() -> None:
    with pytest.raises(InvalidRequestError, match="OPENAI_API_KEY"):
        resolve_embedder("openai:text-embedding-3-small")
    assert resolved("openai:text-embedding-3-small", api_key=KEY).dim == 1536
    assert resolved("openai:own", base_url="http://localhost:1/v1").dim is None


def test_object_that_lacks_something_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="lacks dim, model, embed"):
        resolve_embedder(object())  # type: ignore[arg-type]


# --- the user's own object ---


async def test_own_embedder_gives_unit_rows_in_order() -> None:
    embedder = resolved(Own())
    rows = await embedder.embed(["aab", "c", "xyz"], limit())
    assert (embedder.model, embedder.dim) == ("letters", 3)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, [[0.894427, 0.447214, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]], rtol=1e-5)
    assert (await embedder.embed_query("b", limit())).tolist() == [0, 1, 0]
    await embedder.aclose()


async def test_no_texts_give_no_rows_and_no_call() -> None:
    own = Own()
    assert (await resolved(own).embed([], limit())).shape == (0, 3)
    assert own.calls == []


async def test_many_texts_come_in_lists_of_bounded_length() -> None:
    own = Own()
    texts = ["a" * (i % 7) + "b" for i in range(600)]
    rows = await resolved(own).embed(tuple(texts), limit())
    assert [len(call) for call in own.calls] == [256, 256, 88]
    assert [text for call in own.calls for text in call] == texts
    np.testing.assert_allclose(rows[:, 0] / rows[:, 1], [text.count("a") for text in texts], rtol=1e-5)


async def test_own_query_method_is_used_for_queries_only() -> None:
    class Two(Own):
        def embed_query(self, texts: list[str]) -> Any:
            return [[0, 0, 1] for _ in texts]

    embedder = resolved(Two())
    assert (await embedder.embed_query("a", limit())).tolist() == [0, 0, 1]
    assert (await embedder.embed(["a"], limit())).tolist() == [[1, 0, 0]]


async def test_matrix_of_own_embedder_is_accepted_and_left_alone() -> None:
    class Matrix(Own):
        kept = np.full((2, 3), 2.0, np.float32)

        def embed(self, texts: list[str]) -> Any:
            return self.kept

    rows = await resolved(Matrix()).embed(["x", "y"], limit())
    np.testing.assert_allclose(rows, np.full((2, 3), 3**-0.5), rtol=1e-6)
    assert Matrix.kept.tolist() == [[2.0] * 3] * 2


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        ([[1.0, 2.0, 3.0]], "1 vectors for 2 texts"),
        ([[1.0], [2.0]], "its dim is 3"),
        ([[float("nan")] * 3] * 2, "finite"),
        (None, "one list of numbers"),
    ],
)
async def test_unusable_answer_of_own_embedder_is_a_provider_error(answer: Any, complaint: str) -> None:
    class Broken(Own):
        def embed(self, texts: list[str]) -> Any:
            return answer

    with pytest.raises(ProviderError, match=complaint):
        await resolved(Broken()).embed(["x", "y"], limit())


async def test_exception_of_own_embedder_is_the_cause_of_a_provider_error() -> None:
    class Broken(Own):
        def embed(self, texts: list[str]) -> Any:
            raise ValueError(KEY)

    with pytest.raises(ProviderError, match=r"'letters' failed: ValueError$") as caught:
        await resolved(Broken()).embed(["x"], limit())
    assert isinstance(caught.value.__cause__, ValueError)


async def test_own_embedder_is_not_called_after_the_deadline() -> None:
    own = Own()
    with pytest.raises(DeadlineExceededError):
        await resolved(own).embed(["x"], Deadline(0.0, 1.0))
    assert own.calls == []


# --- an endpoint ---


async def test_endpoint_gets_the_dialect_and_gives_unit_rows(stub: OpenAIStub) -> None:
    embedder = remote(stub)
    before = embedder.dim
    rows = await embedder.embed(["one", "two"], limit())
    np.testing.assert_allclose(rows, expected(["one", "two"]), rtol=1e-5)
    assert (before, embedder.dim) == (None, DIM)
    np.testing.assert_allclose(await embedder.embed_query("q", limit()), expected(["q"])[0], rtol=1e-5)
    await embedder.aclose()
    sent = stub.received[0]
    assert (sent.method, sent.path) == ("POST", "/v1/embeddings")
    assert sent.headers["authorization"] == f"Bearer {KEY}"
    assert sent.body == {"model": "small", "input": ["one", "two"], "encoding_format": "float"}


async def test_settings_of_the_environment_are_used(stub: OpenAIStub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-from-environment")
    monkeypatch.setenv("OPENAI_BASE_URL", stub.url + "/")
    embedder = resolved("openai:small")
    await embedder.embed(["x"], limit())
    await embedder.aclose()
    assert stub.received[0].path == "/v1/embeddings"
    assert stub.received[0].headers["authorization"] == "Bearer sk-from-environment"


async def test_endpoint_of_ones_own_needs_no_key(stub: OpenAIStub) -> None:
    embedder = resolved("openai:small", base_url=stub.url)
    await embedder.embed(["x"], limit())
    await embedder.aclose()
    assert "authorization" not in stub.received[0].headers


async def test_dimensions_prefixes_and_long_texts_are_sent_as_asked(stub: OpenAIStub) -> None:
    embedder = remote(stub, dim=DIM, query_prefix="q: ", document_prefix="d: ", max_text_chars=10)
    await embedder.embed(["x" * 50], limit())
    await embedder.embed_query("y", limit())
    await embedder.aclose()
    assert [sent.body["input"] for sent in stub.received] == [["d: xxxxxxx"], ["q: y"]]
    assert stub.received[0].body["dimensions"] == DIM


async def test_batches_keep_to_both_limits_and_come_back_in_order(stub: OpenAIStub) -> None:
    texts = [f"text {i}" for i in range(40)] + ["long" * 30, "long" * 31]
    embedder = remote(stub, batch_size=7, max_batch_chars=200)
    rows = await embedder.embed(texts, limit())
    await embedder.aclose()
    np.testing.assert_allclose(rows, expected(texts), rtol=1e-5)
    sizes = [len(sent.body["input"]) for sent in stub.received]
    assert sum(sizes) == len(texts)
    assert max(sizes) == 7
    assert all(sum(map(len, sent.body["input"])) <= 200 for sent in stub.received)


async def test_reply_in_another_order_is_sorted(stub: OpenAIStub) -> None:
    stub.rearrange = lambda items: items[::-1]
    embedder = remote(stub)
    texts = ["one", "two", "three"]
    np.testing.assert_allclose(await embedder.embed(texts, limit()), expected(texts), rtol=1e-5)
    await embedder.aclose()


async def test_passing_failures_are_repeated(stub: OpenAIStub) -> None:
    stub.faults.extend([fault(429, retry_after="0"), fault(500), DROP])
    embedder = remote(stub)
    np.testing.assert_allclose(await embedder.embed(["one"], limit()), expected(["one"]), rtol=1e-5)
    await embedder.aclose()
    assert len(stub.received) == 4


@pytest.mark.parametrize(
    ("trouble", "kind"),
    [
        (fault(401, {"error": {"message": f"Incorrect key {KEY}"}}), UnauthorizedError),
        (fault(400, {"error": {"message": f"bad {KEY}"}}), InvalidRequestError),
        (fault(429, retry_after="60"), RateLimitedError),
        (fault(500), ProviderError),
        (fault(503), ProviderUnavailableError),
        (BAD_JSON, ProviderError),
        (DROP, ProviderUnavailableError),
        (HANG, DeadlineExceededError),
    ],
)
async def test_failures_keep_their_class_and_the_key_secret(
    stub: OpenAIStub, trouble: Any, kind: type[OMPError]
) -> None:
    stub.faults.append(trouble)
    embedder = remote(stub, retries=0)
    with pytest.raises(OMPError) as caught:
        await embedder.embed(["one"], limit(0.5) if trouble is HANG else limit())  # only what never comes is waited for
    await embedder.aclose()
    assert type(caught.value) is kind
    assert KEY not in repr(caught.value)


@pytest.mark.parametrize(
    ("rearrange", "complaint"),
    [
        (lambda items: items[1:], "1 embeddings for 2 texts"),
        (lambda items: items[:1] * 2, "two embeddings for one text"),
        (lambda items: [{**item, "embedding": []} for item in items], "numbers"),
        (lambda items: [{**items[0], "embedding": [1.0]}, items[1]], "different lengths"),
    ],
)
async def test_wrong_embeddings_of_an_endpoint_are_a_provider_error(
    stub: OpenAIStub, rearrange: Any, complaint: str
) -> None:
    stub.rearrange = rearrange
    embedder = remote(stub)
    with pytest.raises(ProviderError, match=complaint):
        await embedder.embed(["one", "two"], limit())
    await embedder.aclose()


async def test_vectors_of_another_length_than_before_are_a_provider_error(stub: OpenAIStub) -> None:
    embedder = remote(stub)
    assert await embedder.find_dim(limit()) == DIM
    stub.rearrange = lambda items: [{**item, "embedding": [1.0]} for item in items]
    with pytest.raises(ProviderError, match=f"its dim is {DIM}"):
        await embedder.embed(["one"], limit())
    await embedder.aclose()
