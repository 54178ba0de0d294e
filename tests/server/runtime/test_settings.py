"""The settings of the server, and how it refuses bad ones."""

from __future__ import annotations

import re
import traceback
from pathlib import Path
from typing import Any

import pytest

from openmem.server.runtime.settings import VARIABLES, MissingConfigError, ServerSettings, read_settings
from tests.server.process import run


def test_flag_wins_over_variable_over_default() -> None:
    environ = {"OMP_PORT": "9001", "OMP_HOST": "::1"}
    settings = read_settings({"port": 9002, "host": None}, environ)
    assert (settings.port, settings.host, settings.workers) == (9002, "::1", 1)


@pytest.mark.parametrize(
    ("variable", "text", "name", "value"),
    [
        ("OMP_INSECURE", "yes", "insecure", True),
        ("OMP_METRICS", "0", "metrics", False),
        ("OMP_RATE_LIMIT", "60", "rate_limit_per_minute", 60),
        (
            "OMP_CORS_ORIGINS",
            "https://a.example, https://b.example",
            "cors_origins",
            ("https://a.example", "https://b.example"),
        ),
        ("OMP_BODY_TIMEOUT", "2.5", "body_timeout", 2.5),
        ("OMP_WRITE_TIMEOUT", "0.5", "write_timeout", 0.5),
        ("OMP_POOL_SIZE", "40", "pool_size", 40),
        ("OMP_AUDIT_DAYS", "0.5", "audit_days", 0.5),
        ("OMP_VERSIONS", "0", "versions", 0),
        ("OMP_LOG_FORMAT", "json", "log_format", "json"),
    ],
)
def test_variable_is_read_as_what_it_is(variable: str, text: str, name: str, value: Any) -> None:
    assert getattr(read_settings({}, {variable: text}), name) == value


def test_unknown_variables_are_ignored() -> None:
    assert read_settings({}, {"OMP_WHATEVER": "x", "OMP_AI_PROVIDER": "y"}) == ServerSettings()


@pytest.mark.parametrize(
    ("environ", "provider", "url"),
    [
        ({"OMP_URL": "/a.db"}, None, "/a.db"),
        ({"OMP_POSTGRES_URL": "postgresql://h/d"}, "postgres", "postgresql://h/d"),
        ({"OMP_DB_PATH": "/b.db"}, "sqlite", "/b.db"),
        (
            {"OMP_PROVIDER": "postgres", "OMP_URL": "/a.db", "OMP_POSTGRES_URL": "postgresql://h/d"},
            "postgres",
            "postgresql://h/d",
        ),
        ({"OMP_PROVIDER": "sqlite", "OMP_URL": "postgresql://h/d"}, "sqlite", None),
        ({}, None, None),
    ],
)
def test_environment_says_where_the_memories_are(
    environ: dict[str, str], provider: str | None, url: str | None
) -> None:
    settings = read_settings({}, environ)
    assert (settings.provider, settings.url) == (provider, url)


def test_flag_of_the_place_makes_the_environment_silent() -> None:
    environ = {"OMP_PROVIDER": "postgres", "OMP_URL": "postgresql://h/d"}
    settings = read_settings({"url": "/c.db"}, environ)
    assert (settings.provider, settings.url) == (None, "/c.db")


def test_value_comes_from_a_file_without_its_newline(tmp_path: Path) -> None:
    secret = tmp_path / "url"
    secret.write_text("postgresql://omp:secret@h/d\n")
    settings = read_settings({}, {"OMP_URL_FILE": str(secret)})
    assert settings.url == "postgresql://omp:secret@h/d"
    assert "secret" not in repr(settings)


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"OMP_PORT": "x"}, "OMP_PORT must be a whole number"),
        ({"OMP_PORT": "65536"}, "port must be 0 to 65535"),
        ({"OMP_POOL_SIZE": "many"}, "OMP_POOL_SIZE must be a whole number"),
        ({"OMP_POOL_SIZE": "0"}, "pool_size must be 1 to 10000"),
        ({"OMP_AUDIT_DAYS": "0"}, "audit_days must be 0.001 to 36500"),
        ({"OMP_VERSIONS": "-1"}, "versions must be 0 to"),
        ({"OMP_VERSIONS": "1.5"}, "OMP_VERSIONS must be a whole number"),
        ({"OMP_MAX_REQUEST_BYTES": "1023"}, "max_request_bytes must be 1024 to 104857600"),
        ({"OMP_INSECURE": "maybe"}, "OMP_INSECURE must be true or false"),
        ({"OMP_CORS_ORIGINS": "https://a.example,,"}, "blank entry"),
        ({"OMP_CORS_ORIGINS": "a.example"}, "no origin"),
        ({"OMP_LOG_LEVEL": "loud"}, "log_level must be one of"),
        ({"OMP_REQUEST_TIMEOUT": "nan"}, "request_timeout must be"),
        ({"OMP_URL_FILE": "/nonexistent/url"}, "OMP_URL_FILE: cannot read"),
        ({"OMP_URL_FILE": "/dev/null"}, "is empty"),
        ({"OMP_URL": "/a.db", "OMP_URL_FILE": "/b"}, "both set"),
    ],
)
def test_bad_value_is_named(environ: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        read_settings({}, environ)


@pytest.mark.parametrize("wrong", [{"port": True}, {"port": 80.5}, {"port": -1}, {"metrics": "sometimes"}, {"prot": 1}])
def test_settings_made_in_python_are_checked_too(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} (must be|is unknown)"):
        ServerSettings(**wrong)


def test_settings_made_in_python_read_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_PORT", "9001")
    assert ServerSettings().port == 8080


def test_wrong_setting_is_refused_without_a_value_that_may_be_secret() -> None:
    environ = {"OMP_URL": "postgresql://u:swordfish@h/d", "OMP_API_KEY": "swordfish", "OMP_PORT": "swordfish"}
    with pytest.raises(ValueError, match="OMP_PORT must be a whole number") as refused:
        read_settings({}, environ)
    assert "swordfish" not in "".join(traceback.format_exception(refused.value))


@pytest.mark.parametrize(
    ("provider", "needed"), [("postgres", "url"), ("mem0", "api_key"), ("passthrough", "base_url")]
)
def test_requirements_of_a_provider_must_be_there(provider: str, needed: str) -> None:
    with pytest.raises(MissingConfigError, match=needed):
        read_settings({"provider": provider}, {})


# As a process


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--provider", "postgres"], "omp-server: missing config: url"),
        (["--port", "x"], "omp-server: bad config: argument --port"),
        (["--port", "70000"], "omp-server: bad config: port must be"),
        (["--provider", "nothing"], "omp-server: bad config: there is no provider 'nothing'"),
        (["--frobnicate"], "omp-server: bad config: unrecognized arguments: --frobnicate\n"),
        (["--prot=1"], "omp-server: bad config: unrecognized arguments: --prot=1: did you mean '--port'?\n"),
        (["x"], "omp-server: bad config: unrecognized arguments: x\n"),
        (["--url", "ftp://x/y"], "omp-server: bad config: url: the scheme 'ftp'"),
    ],
)
def test_misuse_is_exit_code_two(flags: list[str], message: str) -> None:
    done = run(*flags)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(message)
    assert "Traceback" not in done.stderr


def test_version_and_help() -> None:
    assert re.fullmatch(r"omp-server \d+\.\d+\.\d+\n", run("--version").stdout)
    text = run("--help").stdout
    for variable in VARIABLES.values():
        assert variable in text
