from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any

import pytest

from openmem._config.settings import (
    Settings,
    check_options,
    location_in,
    provider_of_url,
    resolve_settings,
    sqlite_path,
)
from openmem._io.server_store_url import server_store_url
from openmem.errors import InvalidRequestError


def _resolve(environ: Mapping[str, str] | None = None, **given: Any) -> Settings:
    arguments: dict[str, Any] = dict.fromkeys(("provider", "url", "base_url", "api_key", "embedder"))
    return resolve_settings(**(arguments | {"options": {}} | given), environ=environ or {})


@pytest.mark.parametrize(
    ("given", "provider"),
    [
        ({}, "sqlite"),
        ({"provider": "mem0"}, "mem0"),
        ({"url": "postgresql://db/x"}, "postgres"),
        ({"url": "postgres://db/x"}, "postgres"),
        ({"url": "sqlite:///x.db"}, "sqlite"),
        ({"url": "some/where.db"}, "sqlite"),
        ({"url": "https://memory.example"}, "passthrough"),
        ({"base_url": "http://localhost:8080"}, "passthrough"),
        ({"provider": "letta", "base_url": "http://localhost:8283"}, "letta"),
    ],
)
def test_arguments_choose_the_provider(given: dict[str, Any], provider: str) -> None:
    assert _resolve(**given).provider == provider
    assert _resolve({"OMP_PROVIDER": "acme"}, **given).provider == (provider if given else "acme")


@pytest.mark.parametrize(
    ("environ", "provider", "url"),
    [
        ({"OMP_PROVIDER": "sqlite", "OMP_DB_PATH": "x.db"}, "sqlite", "x.db"),
        ({"OMP_PROVIDER": "postgres", "OMP_POSTGRES_URL": "postgresql://a/b"}, "postgres", "postgresql://a/b"),
        ({"OMP_URL": "sqlite:///y.db"}, "sqlite", "sqlite:///y.db"),
        ({"OMP_URL": "postgresql://a/b"}, "postgres", "postgresql://a/b"),
        ({"OMP_POSTGRES_URL": "postgresql://a/b"}, "postgres", "postgresql://a/b"),
        ({"OMP_DB_PATH": "/data/omp.db"}, "sqlite", "/data/omp.db"),
        ({"OMP_BASE_URL": "http://h"}, "passthrough", None),
        ({"OMP_PASSTHROUGH_BASE_URL": "http://h"}, "passthrough", None),
        ({"OMP_URL": ""}, "sqlite", None),
    ],
)
def test_the_environment_chooses_when_no_argument_does(environ: dict[str, str], provider: str, url: str | None) -> None:
    settings = _resolve(environ)
    assert (settings.provider, settings.url) == (provider, url)


def test_a_named_provider_still_takes_its_place_from_the_environment() -> None:
    assert _resolve({"OMP_DB_PATH": "/data/omp.db"}, provider="sqlite").url == "/data/omp.db"
    assert _resolve({"OMP_URL": "postgresql://a/b"}, provider="sqlite").url is None


def test_keys_come_from_the_variable_of_the_provider_and_are_not_shown() -> None:
    environ = {"MEM0_API_KEY": "m0-secret", "OMP_API_KEY": "omp-secret"}
    assert _resolve(environ, provider="mem0").api_key == "m0-secret"
    assert _resolve(environ, provider="mem0", api_key="given").api_key == "given"
    assert _resolve(environ).api_key == "omp-secret"
    assert "secret" not in repr(_resolve(environ))


def test_the_embedder_comes_from_the_environment_unless_given() -> None:
    assert _resolve({"OMP_EMBEDDER": "none"}).embedder == "none"
    assert _resolve({"OMP_EMBEDDER": "none"}, embedder="fastembed").embedder == "fastembed"


@pytest.mark.parametrize(
    "given",
    [{"provider": " "}, {"provider": 3}, {"url": ""}, {"url": "ftp://x"}, {"base_url": 1}, {"api_key": ""}],
)
def test_wrong_arguments_are_refused_by_name(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError, match=next(iter(given))):
        _resolve(**given)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///notes.db", "notes.db"),
        ("sqlite:////var/notes.db", "/var/notes.db"),
        ("sqlite:///with%20space.db", "with space.db"),
        ("notes.db", "notes.db"),
        ("/var/notes.db", "/var/notes.db"),
    ],
)
def test_a_url_names_a_file(url: str, path: str) -> None:
    assert sqlite_path(url) == path


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///", ":memory:", "sqlite:///:memory:", "sqlite://host/x.db", "a\0b", "http://x/y"]
)
def test_a_url_without_a_file_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequestError, match="url"):
        sqlite_path(url)


def test_unknown_options_are_refused_with_those_there_are() -> None:
    with pytest.raises(InvalidRequestError, match=r"no option 'colour'.*cache_mb, synchronous"):
        check_options("sqlite", {"colour": 1}, frozenset({"synchronous", "cache_mb"}))
    check_options("sqlite", {"cache_mb": 1}, frozenset({"cache_mb"}))


@pytest.mark.parametrize(
    ("environ", "provider", "address"),
    [
        ({"OMP_PASSTHROUGH_BASE_URL": "http://a"}, None, "http://a"),
        ({"OMP_PASSTHROUGH_BASE_URL": "http://a", "OMP_PROVIDER": "passthrough"}, None, "http://a"),
        ({"OMP_PASSTHROUGH_BASE_URL": "http://a"}, "passthrough", "http://a"),
        ({"OMP_PASSTHROUGH_BASE_URL": "http://a", "OMP_BASE_URL": "http://b"}, "passthrough", "http://b"),
        ({"OMP_PASSTHROUGH_BASE_URL": "http://a"}, "letta", None),
        ({"SUPERMEMORY_BASE_URL": "http://a"}, "supermemory", "http://a"),
        ({"SUPERMEMORY_BASE_URL": "http://a", "OMP_PROVIDER": "supermemory"}, None, "http://a"),
        ({"SUPERMEMORY_BASE_URL": "http://a"}, None, None),
    ],
)
def test_addresses_have_names_that_others_gave_them(
    environ: dict[str, str], provider: str | None, address: str | None
) -> None:
    assert _resolve(environ, provider=provider).base_url == address


def test_ingestion_is_set_by_the_environment() -> None:
    settings = _resolve({"OMP_INGEST_TIMEOUT": "90", "OMP_INGEST_BLOCK": "1"})
    assert (settings.ingest_timeout, settings.ingest_block) == (90.0, True)
    assert (_resolve().ingest_timeout, _resolve({"OMP_INGEST_BLOCK": "true"}).ingest_block) == (None, False)


@pytest.mark.parametrize("text", ["0", "601", "-1", "1.5", "soon", "1e2", "٣", "9" * 5000])
def test_wrong_ingest_timeout_is_ignored_with_a_warning(text: str) -> None:
    with pytest.warns(UserWarning, match="OMP_INGEST_TIMEOUT must be a whole number of seconds from 1 to 600"):
        assert _resolve({"OMP_INGEST_TIMEOUT": text}).ingest_timeout is None


@pytest.mark.parametrize("word", ["typo", "memories", "postgres", "a b", "é" * 300])
@pytest.mark.parametrize("variable", ["url", "OMP_URL", "OMP_DB_PATH"])
def test_a_single_word_is_no_address(word: str, variable: str) -> None:
    """It may be anything that was mistyped, and a store would be made under that name."""
    environ, given = ({}, {"url": word}) if variable == "url" else ({variable: word}, {})
    with pytest.raises(InvalidRequestError, match=r"\./.* or .*\.db"):
        _resolve(environ, **given)


@pytest.mark.parametrize("path", ["m.db", "./typo", "folder/typo", "/typo", "../typo", "C:\\typo", ".typo"])
def test_a_path_with_a_folder_or_a_suffix_is_a_file(path: str) -> None:
    settings = _resolve(url=path)
    assert (settings.provider, settings.url) == ("sqlite", path)


def test_an_object_for_a_path_may_be_a_single_word() -> None:
    settings = _resolve(url=PurePosixPath("typo"))
    assert settings.url == "./typo"


def test_the_servers_own_store_is_no_single_word_either() -> None:
    for given in ({"store": "typo"}, {"url": "typo"}):
        with pytest.raises(InvalidRequestError, match=r"\./typo"):
            server_store_url(**given, environ={})


def refusal(call: Callable[[], Any]) -> str:
    with pytest.raises(InvalidRequestError) as caught:
        call()
    return caught.value.message


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"provider": " "}, "provider must be a non-blank string"),
        ({"url": 3}, "url must be a non-blank string"),
        ({"base_url": ""}, "base_url must be a non-blank string"),
        ({"api_key": " "}, "api_key must be a non-blank string"),
        ({"url": "m.db", "base_url": "http://a"}, "give url= or base_url=, not both"),
        (
            {"url": "ftp://x"},
            "url: the scheme 'ftp' is unknown; use postgresql://, sqlite:///FILE, http(s):// or a path",
        ),
        ({"url": "a1://x"}, "url: its scheme is unknown; use postgresql://, sqlite:///FILE, http(s):// or a path"),
        (
            {"provider": "passthrough", "url": "m.db"},
            "url: provider 'passthrough' takes an address that starts with http:// or https://",
        ),
    ],
)
def test_wrong_arguments_say_what_is_wrong(given: dict[str, Any], message: str) -> None:
    assert refusal(lambda: _resolve(**given)) == message


def test_settings_hold_what_was_given() -> None:
    embedder = object()
    settings = _resolve(provider="letta", base_url="http://a", api_key="k", embedder=embedder, options={"workers": 2})
    assert settings == Settings(
        provider="letta",
        base_url="http://a",
        api_key="k",
        embedder=embedder,
        options={"workers": 2},
        remote_key="k",
    )
    assert (settings.entrance, _resolve(provider="letta").entrance) == ("passthrough", "letta")


def test_key_for_an_omp_server_is_none_of_another_service() -> None:
    environ = {"MEM0_API_KEY": "m0", "OMP_API_KEY": "omp"}
    assert (_resolve(environ, provider="mem0").remote_key, _resolve(environ).remote_key) == ("omp", "omp")
    assert _resolve({"MEM0_API_KEY": "m0"}, provider="mem0").remote_key is None
    for provider, variable in (("supermemory", "SUPERMEMORY_API_KEY"), ("letta", "LETTA_API_KEY")):
        assert _resolve({variable: "s", "OMP_API_KEY": "omp"}, provider=provider).api_key == "s"
    assert _resolve({"OMP_API_KEY": ""}).api_key is None


def test_address_of_a_server_may_be_given_as_url() -> None:
    settings = _resolve(provider="passthrough", url=" https://a/b ")
    assert (settings.url, settings.base_url) == (None, "https://a/b")
    assert (_resolve(url="https://a").url, _resolve(url="https://a").base_url) == (None, "https://a")


def test_schema_comes_from_the_environment_for_postgres_unless_given() -> None:
    environ = {"OMP_SCHEMA": "mine"}
    url = "postgresql://db/x"
    assert _resolve(environ, url=url).options == {"schema": "mine"}
    assert _resolve(environ, url=url, options={"schema": "other"}).options == {"schema": "other"}
    assert _resolve({"OMP_SCHEMA": ""}, url=url).options == {}
    assert _resolve(environ).options == {}
    assert _resolve({"OMP_VERSIONS": "3"}, url=url).options == {"versions": 3}


def test_provider_of_a_third_party_has_schemes_of_its_own() -> None:
    def of_scheme(scheme: str) -> str | None:
        return "acme-cloud" if scheme == "acme" else None

    assert _resolve(url="acme://x", provider_of_scheme=of_scheme).provider == "acme-cloud"
    assert provider_of_url("acme://x", of_scheme) == "acme-cloud"
    assert provider_of_url("postgresql://x", lambda scheme: "other") == "postgres"
    with pytest.raises(InvalidRequestError, match="the scheme 'acme' is unknown"):
        provider_of_url("acme://x")


@pytest.mark.parametrize(
    ("environ", "provider", "place"),
    [
        ({}, None, (None, None, None)),
        ({"OMP_URL": "sqlite:///a.db", "OMP_DB_PATH": "b.db"}, None, (None, "sqlite:///a.db", None)),
        ({"OMP_POSTGRES_URL": "postgresql://a/b", "OMP_DB_PATH": "b.db"}, None, ("postgres", "postgresql://a/b", None)),
        ({"OMP_DB_PATH": "b.db", "OMP_BASE_URL": "http://a"}, None, ("sqlite", "b.db", None)),
        ({"OMP_PROVIDER": "acme", "OMP_URL": "acme://x"}, None, ("acme", "acme://x", None)),
        ({"OMP_URL": "sqlite:///a.db", "OMP_DB_PATH": "b.db"}, "sqlite", ("sqlite", "sqlite:///a.db", None)),
        ({"OMP_URL": "sqlite:///a.db", "OMP_POSTGRES_URL": ""}, "postgres", ("postgres", None, None)),
        ({"OMP_BASE_URL": "http://a"}, "mem0", ("mem0", None, "http://a")),
        ({"OMP_BASE_URL": "http://a"}, "sqlite", ("sqlite", None, None)),
    ],
)
def test_environment_names_a_place(
    environ: dict[str, str], provider: str | None, place: tuple[str | None, str | None, str | None]
) -> None:
    assert location_in(environ, provider) == place


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("path", "provider 'sqlite' has no option 'path': did you mean 'url='?"),
        ("DB-Path", "provider 'sqlite' has no option 'DB-Path': did you mean 'url='?"),
        ("cach_mb", "provider 'sqlite' has no option 'cach_mb': did you mean 'cache_mb='?"),
        ("timeuot", "provider 'sqlite' has no option 'timeuot': did you mean 'timeout='?"),
        ("colour", "provider 'sqlite' has no option 'colour'; it knows: cache_mb"),
    ],
)
def test_unknown_option_is_named_with_what_may_be_meant(name: str, message: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        check_options("sqlite", {"cache_mb": 1, name: 1}, frozenset({"cache_mb"}))
    assert (caught.value.message, caught.value.provider) == (message, "sqlite")
    assert refusal(lambda: check_options("acme", {"colour": 1}, frozenset())).endswith("; it knows: none")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite://host/x.db", "url: the embedded store takes sqlite:///FILE, with three slashes, or a path"),
        ("sqlite://u@/x.db", "url: the embedded store takes sqlite:///FILE, with three slashes, or a path"),
        ("sqlite:///x.db?a=1", "url: the embedded store takes sqlite:///FILE, with three slashes, or a path"),
        ("sqlite:///x.db#a", "url: the embedded store takes sqlite:///FILE, with three slashes, or a path"),
        ("http:///x.db", "url: the embedded store takes sqlite:///FILE, with three slashes, or a path"),
        ("sqlite:///", "url: the embedded store needs the name of a file, such as sqlite:///notes.db"),
        ("sqlite:///a%00b", "url: the embedded store needs the name of a file, such as sqlite:///notes.db"),
        ("sqlite:///:memory:", "url: the embedded store needs the name of a file, such as sqlite:///notes.db"),
    ],
)
def test_url_of_the_embedded_store_says_what_it_takes(url: str, message: str) -> None:
    assert refusal(lambda: sqlite_path(url)) == message


def test_longest_ingestion_is_ten_minutes() -> None:
    assert _resolve({"OMP_INGEST_TIMEOUT": "600"}).ingest_timeout == 600.0
    assert _resolve({"OMP_INGEST_TIMEOUT": "1"}).ingest_timeout == 1.0
    assert _resolve({"OMP_INGEST_TIMEOUT": ""}).ingest_timeout is None
