from __future__ import annotations

from collections.abc import Callable
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


CHOICES = 'give "none", "fastembed[:MODEL[@FOLDER]]", "openai:MODEL", or an object with dim, model and embed(texts)'


def refusal(call: Callable[[], Any]) -> str:
    with pytest.raises(InvalidRequestError) as caught:
        call()
    return caught.value.message


def test_model_may_be_taken_from_a_folder() -> None:
    assert parse_embedder(" fastembed:a/b@/models ") == FastEmbed("a/b", model_path="/models")
    assert parse_embedder("fastembed:a/b@c@d") == FastEmbed("a/b", model_path="c@d")
    for text in ("fastembed:a/b@", "fastembed:a/b@ "):
        message = "embedder: after the @ of fastembed:MODEL@FOLDER stands no folder"
        assert refusal(lambda text=text: parse_embedder(text)) == message  # type: ignore[misc]


def test_unknown_choice_is_quoted_in_short() -> None:
    assert refusal(lambda: parse_embedder("nothing")) == f"embedder 'nothing' is not known: {CHOICES}"
    assert refusal(lambda: parse_embedder("n" * 100)) == f"embedder {'n' * 80!r} is not known: {CHOICES}"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dim": 0}, "embedder Own: dim must be a whole number from 1 on"),
        ({"dim": "1"}, "embedder Own: dim must be a whole number from 1 on"),
        ({"model": " "}, "embedder Own: model must be a name"),
        ({"model": 3}, "embedder Own: model must be a name"),
        ({"model": "m" * 257}, "embedder Own: model must have at most 256 characters, not 257"),
        ({"embed": 3}, "embedder Own: embed must be a method that takes a list of texts"),
        ({"embed_query": None}, "embedder Own: embed_query must be a method that takes a list of texts"),
    ],
)
def test_wrong_part_of_an_object_is_named(changes: dict[str, Any], message: str) -> None:
    own = type("Own", (), {"dim": 1, "model": "m", "embed": staticmethod(embed), **changes})
    assert refusal(lambda: check_embedder(own())) == message
    assert refusal(lambda: check_embedder(own)) == "embedder is the class Own; give an instance: Own(…)"


def test_parts_that_an_object_lacks_are_named() -> None:
    assert refusal(lambda: check_embedder(object())) == f"embedder object lacks dim, model, embed: {CHOICES}"


@pytest.mark.parametrize(
    "name", ["dim", "batch_size", "max_batch_chars", "max_text_chars", "max_text_tokens", "concurrency"]
)
@pytest.mark.parametrize("value", [0, True, 1.5])
def test_numbers_of_an_endpoint_are_from_one_on(name: str, value: Any) -> None:
    numbers: dict[str, Any] = {name: value}
    message = f"OpenAIEmbedder: {name} must be a whole number from 1 on"
    assert refusal(lambda: OpenAIEmbedder("m", **numbers)) == message
    numbers[name] = 1
    assert getattr(OpenAIEmbedder("m", **numbers), name) == 1


def test_choice_with_another_bad_argument_says_so() -> None:
    assert refusal(lambda: OpenAIEmbedder("m", retries=-1)) == "OpenAIEmbedder: retries must not be negative"
    assert OpenAIEmbedder("m", retries=0).retries == 0
    wrong: Any = 3
    assert refusal(lambda: OpenAIEmbedder(wrong)) == "OpenAIEmbedder: model must be a name"
    assert refusal(lambda: FastEmbed(" ")) == "FastEmbed: model must be a name"
    assert refusal(lambda: FastEmbed("m" * 257)) == "FastEmbed: model must have at most 256 characters, not 257"
    assert (
        refusal(lambda: OpenAIEmbedder("m", retry=wrong)) == "OpenAIEmbedder: retry must be of the class Retry, not int"
    )
    assert refusal(lambda: FastEmbed(batch_size=0)) == "FastEmbed: batch_size must be a whole number from 1 on"
    assert FastEmbed(threads=1, batch_size=1).threads == 1


@pytest.mark.parametrize(
    ("model", "wanted"),
    [
        ("BAAI/bge-base-en", ("Represent this sentence for searching relevant passages: ", "")),
        ("NOMIC-ai/nomic-embed-text-v1.5", ("search_query: ", "search_document: ")),
        ("other/model", ("", "")),
    ],
)
def test_prefixes_of_a_model_are_known_whatever_its_case(model: str, wanted: tuple[str, str]) -> None:
    assert prefixes(model) == wanted
