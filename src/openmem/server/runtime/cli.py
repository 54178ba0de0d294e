"""The command `omp-server`: its flags, and what it says to bad ones."""

from __future__ import annotations

import argparse
import os
import signal
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

import openmem
from openmem import OMPError
from openmem._text.misspellings import closest, did_you_mean
from openmem.server.runtime.output import say
from openmem.server.runtime.settings import LOG_LEVELS, MissingConfigError, entries_of, read_settings

MISUSED: Final = 2
HELP_WIDTH: Final = 100

DESCRIPTION: Final = "Serve memories over HTTP: the Open Memory Protocol."
EPILOG: Final = (
    "Every setting can also come from the environment: the flag wins, then the variable. A variable that ends in "
    "_FILE, such as OMP_URL_FILE or OMP_API_KEY_FILE, names a file with the value. Without keys the server answers on "
    "loopback only. It speaks plain HTTP: put TLS in front of it."
)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        begin = "unrecognized arguments: "
        if message.startswith(begin):
            typed = message.removeprefix(begin).split()[0].partition("=")[0]
            message += did_you_mean(closest(typed, self._option_string_actions) if typed.startswith("--") else None)
        self.exit(MISUSED, f"omp-server: bad config: {message}\n")


def _formatter(prog: str) -> argparse.HelpFormatter:
    return argparse.HelpFormatter(prog, max_help_position=30, width=HELP_WIDTH)


def main(arguments: Sequence[str] | None = None, *, program: str = "omp-server") -> int:
    """Run the command; return the exit code.

    Args:
        arguments: The command line without the program; that of this process unless given.
        program: What the command calls itself in its help.
    """
    flags = vars(_parser(program).parse_args(arguments))
    _end_when_told()
    try:
        return _serve(flags, os.environ)
    except MissingConfigError as error:
        return _complain(f"missing config: {error}")
    except ValueError as error:
        return _complain(f"bad config: {error}")
    except OMPError as error:
        return _complain(f"bad config: {error.message}")


def _end_when_told() -> None:
    """End at once on a signal, until the server that starts handles it better: there is nothing to finish yet.

    The first process of a container would not even hear of a signal that it does not handle.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))


def _serve(flags: Mapping[str, Any], environ: Mapping[str, str]) -> int:
    settings = read_settings(flags, environ)
    from openmem.server.runtime.boot import serve
    from openmem.server.services.stores import make_memory, make_store

    make_memory(settings)  # no I/O: what cannot be built is a bad setting
    make_store(settings)
    return serve(settings)


def _complain(text: str) -> int:
    say(text)
    return MISUSED


def _parser(program: str) -> _Parser:
    parser = _Parser(
        prog=program, description=DESCRIPTION, epilog=EPILOG, allow_abbrev=False, formatter_class=_formatter
    )
    parser.add_argument("--version", action="version", version=f"omp-server {openmem.__version__}")
    _add_place(parser.add_argument_group("memories"))
    _add_listening(parser.add_argument_group("listening"))
    _add_limits(parser.add_argument_group("limits"))
    _add_operation(parser.add_argument_group("operation"))
    return parser


def _add_place(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--provider", metavar="NAME", help="sqlite, postgres or another  [OMP_PROVIDER]")
    group.add_argument("--url", help="a file or postgresql://…  [OMP_URL, OMP_POSTGRES_URL, OMP_DB_PATH]")
    group.add_argument("--base-url", metavar="URL", help="address of a memory service  [OMP_BASE_URL]")
    group.add_argument(
        "--embedder", metavar="NAME", help="none, fastembed[:MODEL[@FOLDER]], openai:MODEL  [OMP_EMBEDDER]"
    )
    group.add_argument("--schema", help="the schema on Postgres  [OMP_SCHEMA]")
    group.add_argument("--pool-size", type=int, metavar="N", help="connections to Postgres, 10  [OMP_POOL_SIZE]")
    group.add_argument(
        "--audit-days", type=float, metavar="N", help="days that the audit log keeps, all  [OMP_AUDIT_DAYS]"
    )
    group.add_argument(
        "--versions", type=int, metavar="N", help="earlier versions kept of each memory, all  [OMP_VERSIONS]"
    )
    group.add_argument("--store", metavar="URL", help="where the keys are kept  [OMP_SERVER_STORE]")


def _add_listening(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--host", help="address to listen on, 127.0.0.1  [OMP_HOST]")
    group.add_argument("--port", type=int, metavar="N", help="8080; 0 is any free one  [OMP_PORT]")
    group.add_argument("--workers", type=int, metavar="N", help="processes, 1  [OMP_WORKERS]")
    group.add_argument(
        "--insecure",
        action=argparse.BooleanOptionalAction,
        help="listen on other addresses even without keys  [OMP_INSECURE]",
    )
    group.add_argument(
        "--cors-origins", type=entries_of, metavar="LIST", help="web pages that may use it  [OMP_CORS_ORIGINS]"
    )
    group.add_argument(
        "--allowed-host",
        type=entries_of,
        metavar="LIST",
        help="names it may be asked for without keys  [OMP_ALLOWED_HOST]",
    )
    group.add_argument(
        "--trusted-proxies", type=entries_of, metavar="LIST", help="whose X-Forwarded-For counts  [OMP_TRUSTED_PROXIES]"
    )


def _add_limits(group: argparse._ArgumentGroup) -> None:
    def add(flag: str, kind: type, help: str, dest: str | None = None) -> None:
        group.add_argument(flag, type=kind, metavar="N", help=help, dest=dest or flag[2:].replace("-", "_"))

    add("--rate-limit", int, "requests a minute per key, 0: none  [OMP_RATE_LIMIT]", "rate_limit_per_minute")
    add("--max-request-bytes", int, "bytes of a body, 1048576  [OMP_MAX_REQUEST_BYTES]")
    add("--max-header-bytes", int, "bytes of a head, 16384  [OMP_MAX_HEADER_BYTES]")
    add("--concurrency", int, "requests at once, 256  [OMP_CONCURRENCY]")
    add("--max-connections", int, "connections at once, 2048  [OMP_MAX_CONNECTIONS]")
    add("--request-timeout", float, "seconds for a verb, 30  [OMP_REQUEST_TIMEOUT]")
    add("--head-timeout", float, "seconds for a head to arrive, 10  [OMP_HEAD_TIMEOUT]")
    add("--body-idle-timeout", float, "seconds a body may stand still, 10  [OMP_BODY_IDLE_TIMEOUT]")
    add("--body-timeout", float, "seconds for a body to arrive, 60  [OMP_BODY_TIMEOUT]")
    add("--write-timeout", float, "seconds a client may take nothing, 30  [OMP_WRITE_TIMEOUT]")
    add("--keep-alive-timeout", int, "seconds between requests, 65  [OMP_KEEP_ALIVE_TIMEOUT]")
    add("--boot-timeout", float, "seconds the store may take to answer at the start, 7  [OMP_BOOT_TIMEOUT]")
    add("--drain-seconds", int, "seconds to end requests when stopping, 30  [OMP_DRAIN_SECONDS]")


def _add_operation(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--log-level", choices=LOG_LEVELS, help="info  [OMP_LOG_LEVEL]")
    group.add_argument("--log-format", choices=("text", "json"), help="text  [OMP_LOG_FORMAT]")
    group.add_argument("--metrics", action=argparse.BooleanOptionalAction, help="serve /metrics, yes  [OMP_METRICS]")
    group.add_argument("--docs", action=argparse.BooleanOptionalAction, help="serve /docs, yes  [OMP_DOCS]")
