from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from openmem._embedding.choices import (
    DEFAULT_LOCAL_MODEL,
    FastEmbed,
    OpenAIEmbedder,
    check_embedder,
    parse_embedder,
    prefixes,
)
from openmem.errors import InvalidRequestError


def embed(texts: list[str]) -> list[list[float]]:
    return [[1.0] for _ in texts]


def test_texts_name_the_built_in_choices() -> None:
    assert parse_embedder("none") is None
    assert parse_embedder("fastembed") == FastEmbed(DEFAULT_LOCAL_MODEL)
    assert parse_embedder("fastembed:a/b") == FastEmbed("a/b")
    assert parse_embedder("openai:text-embedding-3-small") == OpenAIEmbedder("text-embedding-3-small")


@pytest.mark.parametrize("text", ["", "nothing", "none:x", "openai", "openai:", "fastembed: ", "OPENAI:x"])
def test_text_that_names_no_choice_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError):
        parse_embedder(text)


@pytest.mark.parametrize("name", ["dim", "model", "embed"])
def test_missing_part_is_named(name: str) -> None:
    parts: dict[str, Any] = {"dim": 1, "model": "m", "embed": embed}
    del parts[name]
    with pytest.raises(InvalidRequestError, match=f"lacks {name}"):
        check_embedder(SimpleNamespace(**parts))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"dim": 0}, "dim"),
        ({"dim": True}, "dim"),
        ({"dim": 3.0}, "dim"),
        ({"model": " "}, "model"),
        ({"model": 3}, "model"),
        ({"embed": 3}, "embed must"),
        ({"embed_query": 3}, "embed_query must"),
    ],
)
def test_wrong_part_is_named(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidRequestError, match=named):
        check_embedder(SimpleNamespace(**{"dim": 1, "model": "m", "embed": embed, **changes}))


def test_complete_object_is_accepted() -> None:
    check_embedder(SimpleNamespace(dim=1, model="m", embed=embed))
    check_embedder(SimpleNamespace(dim=1, model="m", embed=embed, embed_query=embed))


def test_class_instead_of_an_instance_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match=r"give an instance: FastEmbed\("):
        check_embedder(FastEmbed)


@pytest.mark.parametrize(
    "arguments",
    [{"model": ""}, {"threads": 0}, {"batch_size": 0}, {"batch_size": True}],
)
def test_local_choice_with_a_bad_argument_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError, match=f"FastEmbed: {next(iter(arguments))}"):
        FastEmbed(**arguments)


@pytest.mark.parametrize(
    "arguments",
    [{"dim": 0}, {"batch_size": 0}, {"max_text_chars": -1}, {"concurrency": 0}, {"retries": -1}],
)
def test_endpoint_choice_with_a_bad_argument_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError, match=f"OpenAIEmbedder: {next(iter(arguments))}"):
        OpenAIEmbedder("m", **arguments)


def test_key_is_not_shown() -> None:
    assert "sk-1" not in repr(OpenAIEmbedder("m", api_key="sk-1"))


def test_known_models_tell_their_dim_before_use() -> None:
    assert FastEmbed().known_dim == 384
    assert OpenAIEmbedder("text-embedding-3-large").known_dim == 3072
    assert OpenAIEmbedder("text-embedding-3-large", dim=256).known_dim == 256
    assert OpenAIEmbedder("own-model").known_dim is None


def test_models_that_want_a_prefix_get_it() -> None:
    assert prefixes("BAAI/bge-small-en-v1.5") == ("", "")
    assert prefixes("BAAI/bge-small-en")[0].startswith("Represent")
    assert prefixes("Snowflake/snowflake-arctic-embed-s")[0].startswith("Represent")
    assert prefixes("intfloat/multilingual-e5-large") == ("query: ", "passage: ")
