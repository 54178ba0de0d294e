"""The options of the provider for Postgres, the names in its statements, and JSON as their parameters."""

from __future__ import annotations

from typing import Any

import pytest

from openmem._config.settings import Settings
from openmem._sql.postgres import options
from openmem._sql.postgres.names import Names, quoted
from openmem._sql.postgres.values import (
    EncodedJson,
    Json,
    LateJson,
    decode_json,
    encode_json,
    has_large_json,
    with_json_encoded,
    with_json_read,
)
from openmem.errors import InvalidRequestError

URL = "postgresql://ann@db.test/notes"


def refusal(url: str | None = URL, **given: Any) -> tuple[str, str | None] | None:
    """Return the message and the provider of the error that checking options raises."""
    try:
        options.check(Settings("postgres", url=url, options=given))
    except InvalidRequestError as error:
        return error.message, error.provider
    return None


class TestOptions:
    """Options as they are given."""

    @pytest.mark.parametrize(
        "given",
        [
            {},
            {"schema": "s_1", "text_search": "simple", "migrate": False, "distribute": True, "group_adds": False},
            {"hnsw": True, "hnsw_from": 1},
            {"pool_min_size": 0, "pool_max_size": 1, "pool_timeout": 0.001},
            {"pool_min_size": 3, "pool_max_size": 3, "pool_timeout": 1},
            {"schema": "a" * 63},
        ],
    )
    def test_options_that_can_be_kept_are_taken(self, given: dict[str, Any]) -> None:
        assert refusal(**given) is None

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"schema": "Notes"}, "schema must be a lower-case identifier, such as openmem"),
            ({"schema": "a" * 64}, "schema must be a lower-case identifier, such as openmem"),
            ({"schema": 7}, "schema must be a lower-case identifier, such as openmem"),
            ({"text_search": "en-GB"}, "text_search must be a lower-case identifier, such as openmem"),
            ({"schema": "pg_notes"}, "schema must not begin with pg_, which Postgres keeps for itself"),
            ({"hnsw_from": 0}, "hnsw_from must be a number of memories, 1 or more"),
            ({"hnsw_from": True}, "hnsw_from must be a number of memories, 1 or more"),
            ({"hnsw_from": 1.5}, "hnsw_from must be a number of memories, 1 or more"),
        ],
    )
    def test_option_is_refused_with_its_name(self, given: dict[str, Any], message: str) -> None:
        assert refusal(**given) == (message, None)

    @pytest.mark.parametrize("name", ["migrate", "distribute", "group_adds", "hnsw"])
    def test_flag_is_a_flag(self, name: str) -> None:
        found = refusal(**{name: "yes"})
        assert found is not None
        assert found[0].startswith(name)

    def test_retention_is_checked(self) -> None:
        assert refusal(audit_days=-1) is not None

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"pool_min_size": "1"}, "pool_min_size must be a number, not str"),
            ({"pool_min_size": 1.0}, "pool_min_size must be a number, not float"),
            ({"pool_max_size": None}, "pool_max_size must be a number, not NoneType"),
            ({"pool_timeout": True}, "pool_timeout must be a number, not bool"),
            ({"pool_timeout": "soon"}, "pool_timeout must be a number, not str"),
            ({"pool_min_size": -1}, "pool_min_size must be from 0 to pool_max_size"),
            ({"pool_min_size": 11}, "pool_min_size must be from 0 to pool_max_size"),
            ({"pool_min_size": 4, "pool_max_size": 3}, "pool_min_size must be from 0 to pool_max_size"),
            ({"pool_max_size": 0}, "pool_min_size must be from 0 to pool_max_size"),
            ({"pool_timeout": 0}, "pool_timeout must be above 0"),
            ({"pool_timeout": float("nan")}, "pool_timeout must be above 0"),
        ],
    )
    def test_pool_is_refused_in_the_name_of_the_provider(self, given: dict[str, Any], message: str) -> None:
        assert refusal(**given) == (message, "postgres")

    def test_address_is_wanted_and_read(self) -> None:
        wanted = 'provider "postgres" requires url="postgresql://user:password@host/database"'
        assert refusal(None) == refusal("") == (wanted, "postgres")
        assert refusal("postgresql://db.test:none/notes") is not None


class TestNames:
    """Names of tables and of what the extension has."""

    def test_name_is_quoted_only_where_it_must_be(self) -> None:
        assert [quoted(name) for name in ("notes", "user", "Notes", 'a"b', "a" * 64)] == [
            "notes",
            '"user"',
            '"Notes"',
            '"a""b"',
            f'"{"a" * 64}"',
        ]

    def test_tables_are_those_of_the_schema(self) -> None:
        db = Names("user")
        names = [db.memories, db.audit, db.versions, db.supersessions, db.vectors, db.models, db.table("x")]
        tables = ("memories", "audit", "versions", "supersessions", "vectors", "models", "x")
        assert names == [f'"user".{table}' for table in tables]
        assert Names().memories == "openmem.memories"
        with pytest.raises(InvalidRequestError, match="schema"):
            Names("Notes")
        with pytest.raises(InvalidRequestError, match="text_search"):
            Names("notes", "English")

    def test_extension_is_named_where_it_was_found(self) -> None:
        assert (Names().of_vector("vector"), Names().distance) == ("vector", "<=>")
        db = Names(extension="Ext")
        assert (db.of_vector("vector"), db.distance) == ('"Ext".vector', 'operator("Ext".<=>)')


class TestJson:
    """Values of `jsonb` on their way."""

    @pytest.mark.parametrize(
        ("value", "data"),
        [
            ({"a": [1, "ä"]}, '{"a":[1,"ä"]}'),
            ({"a": 1.5, "b": 0, "c": -2}, '{"a":1.5,"b":0,"c":-2}'),
            ({"a": 1e16}, '"{\\"a\\":1e+16}"'),
            ([1, 1.5e-7], '"[1,1.5e-07]"'),
            ({"a": -0.0}, '"{\\"a\\":-0.0}"'),
            ([0.0], '"[0.0]"'),
            (["ä", 1e16], '"[\\"ä\\",1e+16]"'),
            ({"a": 0.05}, '{"a":0.05}'),
        ],
    )
    def test_value_comes_back_as_it_was(self, value: Any, data: str) -> None:
        encoded = encode_json(Json(value))
        assert encoded == b"\x01" + data.encode()
        assert repr(decode_json(encoded)) == repr(value)
        assert encode_json(EncodedJson(encoded)) == encoded

    def test_parameters_are_encoded_where_they_are_json(self) -> None:
        made = with_json_encoded([1, Json({"a": 1}), "x", EncodedJson(b"y")])
        assert made == [1, EncodedJson(b'\x01{"a":1}'), "x", EncodedJson(b"y")]

    def test_row_is_read_where_it_was_left_for_later(self) -> None:
        assert with_json_read([1, LateJson(b'\x01{"a":1}'), "x"]) == (1, {"a": 1}, "x")

    def test_large_json_is_told(self) -> None:
        large = Json({"a": ["x"] * 100_000})
        assert has_large_json([1, Json({"a": 1}), large])
        assert not has_large_json([1, Json({"a": 1})])
        assert not has_large_json([])
        assert not has_large_json([large.value])
