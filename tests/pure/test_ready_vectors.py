"""Vectors that callers bring are checked, scaled to length 1 and held to one model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from openmem._embedding.batches import given_vectors, report_of, to_embed
from openmem._embedding.ready import agreed_model, check_embedding
from openmem._model.requests import GivenVector
from openmem._rules.drafting import make_change, make_draft, make_drafts
from openmem._rules.validation import make_search_query
from openmem.errors import InvalidRequestError
from openmem.types import MemoryInput


def given(*numbers: float, model: str = "m") -> GivenVector:
    return check_embedding({"model": model, "vector": list(numbers)})


@pytest.mark.parametrize(
    "vector",
    [
        [3, 4.0],
        (3.0, 4.0),
        np.array([3.0, 4.0], dtype=np.float64),
        np.array([3, 4], dtype=np.int16),
        [3e300, 4e300],
        [3e-300, 4e-300],
        [np.float64(3.0), 4],
    ],
)
def test_vector_is_scaled_to_length_one(vector: Any) -> None:
    found = check_embedding({"model": "m", "vector": vector})
    assert found.values.dtype == np.float32
    assert found.values.tolist() == pytest.approx([0.6, 0.8])
    assert (found.model, found.dim) == ("m", 2)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "embedding must be an object with model and vector, not null"),
        ([1.0], "embedding must be an object with model and vector, not list"),
        ({"vector": [1.0]}, "embedding.model must be a string, not NoneType"),
        ({"model": " ", "vector": [1.0]}, "embedding.model must not be blank"),
        ({"model": "m"}, "embedding.vector must be a list of numbers, not null"),
        ({"model": "m", "vector": "1,2"}, "embedding.vector must be a list of numbers, not str"),
        ({"model": "m", "vector": {1.0}}, "embedding.vector must be a list of numbers, not set"),
        ({"model": "m", "vector": np.eye(2)}, "embedding.vector must be a list of numbers"),
        ({"model": "m", "vector": np.array([True])}, "embedding.vector must be a list of numbers"),
        ({"model": "m", "vector": []}, "embedding.vector must have 1 to 16000 numbers, not 0"),
        ({"model": "m", "vector": [1.0] * 16_001}, "embedding.vector must have 1 to 16000 numbers, not 16001"),
        ({"model": "m", "vector": [1.0, None]}, "embedding.vector[1] must be a number, not null"),
        ({"model": "m", "vector": [False, 1.0]}, "embedding.vector[0] must be a number, not bool"),
        ({"model": "m", "vector": ["1"]}, "embedding.vector[0] must be a number, not str"),
        ({"model": "m", "vector": [float("inf")]}, "embedding.vector must hold finite numbers"),
        ({"model": "m", "vector": [10**400]}, "embedding.vector must hold finite numbers"),
        ({"model": "m", "vector": [0, -0.0]}, "embedding.vector must not be all zeros: it has no direction"),
        ({"model": "m", "vectr": [1.0]}, "'vectr' is unknown in embedding: did you mean 'vector'?"),
    ],
)
def test_wrong_embedding_is_refused_by_the_member(value: Any, said: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        check_embedding(value)
    assert caught.value.message == said


def test_vectors_agree_on_one_model_and_length() -> None:
    assert agreed_model([]) is None
    assert agreed_model([], "m", 2) == ("m", 2)
    assert agreed_model([], "m", None) is None
    assert agreed_model([given(1, 0), given(0, 1)]) == ("m", 2)
    assert agreed_model([given(1, 0)], "m", None) == ("m", 2)
    assert agreed_model([given(1, 0)], "m", 2) == ("m", 2)


@pytest.mark.parametrize(
    ("vectors", "own", "said"),
    [
        ([given(1), given(1, model="n")], (), "embedding.model is 'n', and the model of the others is 'm'"),
        ([given(1)], ("n", 1), "embedding.model is 'm', and the embedder's model is 'n'"),
        ([given(1)], ("n", None), "embedding.model is 'm', and the embedder's model is 'n'"),
        ([given(1), given(1, 2)], (), "embedding.vector has 2 numbers, and vectors of 'm' have 1 here"),
        ([given(1)], ("m", 3), "embedding.vector has 1 numbers, and vectors of 'm' have 3 here"),
    ],
)
def test_vectors_that_do_not_agree_are_refused(vectors: list[GivenVector], own: tuple[Any, ...], said: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        agreed_model(vectors, *own)
    assert caught.value.message == said


def test_requests_hold_the_vectors_that_were_given() -> None:
    one = {"model": "m", "vector": [1.0]}
    draft, change = make_draft("tea", "ann", embedding=one), make_change(content="tea", embedding=one)
    query = make_search_query("tea", "ann", embedding=one)
    made = make_drafts([MemoryInput.model_validate({"content": "tea", "user_id": "ann", "embedding": one})])
    found = [draft.embedding, change.fields["embedding"], query.embedding, made[0].embedding]
    assert [(vector.model, vector.dim) for vector in found if vector is not None] == [("m", 1)] * 4
    assert make_change(content="tea").fields == {"content": "tea"}
    with pytest.raises(InvalidRequestError, match="embedding is given with the content that it is of"):
        make_change(embedding=one)
    with pytest.raises(InvalidRequestError, match="a memory that is not searchable has no vector"):
        make_draft("tea", "ann", searchable=False, embedding=one)
    with pytest.raises(InvalidRequestError, match='mode="keyword" compares no vectors'):
        make_search_query("tea", "ann", mode="keyword", embedding=one)


def test_only_texts_without_a_vector_that_may_be_found_are_embedded() -> None:
    one = {"model": "m", "vector": [1.0]}
    drafts = [
        make_draft("a", "ann"),
        make_draft("b", "ann", embedding=one),
        make_draft("c", "ann", searchable=False),
        make_draft("d", "ann"),
    ]
    assert (to_embed(drafts), list(given_vectors(drafts))) == ([0, 3], [1])
    told: list[tuple[int, int]] = []
    tell = report_of(lambda done, total: told.append((done, total)), 2, 4)
    assert tell is not None
    tell(1, 2)
    tell(2, 2)
    assert told == [(3, 4), (4, 4)]
    assert report_of(None, 2, 4) is None
