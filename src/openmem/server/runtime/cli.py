"""The command `omp-server`: its flags, and what it says to bad ones."""

from __future__ import annotations

import argparse
import os
import signal
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NoReturn, get_args, get_origin

from pydantic.fields import FieldInfo

import openmem
from openmem import OMPError
from openmem._text.misspellings import closest, did_you_mean
from openmem.server.runtime.output import say
from openmem.server.runtime.settings import VARIABLES, MissingConfigError, ServerSettings, read_settings

MISUSED: Final = 2
HELP_WIDTH: Final = 100

DESCRIPTION: Final = "Serve memories over HTTP: the Open Memory Protocol."
EPILOG: Final = (
    "Every setting can also come from the environment: the flag wins, then the variable. A variable that ends in "
    "_FILE, such as OMP_URL_FILE or OMP_API_KEY_FILE, names a file with the value. Without keys the server answers on "
    "loopback only. It speaks plain HTTP: put TLS in front of it."
)

_GROUPS: Final = {
    "provider": "memories",
    "host": "listening",
    "rate_limit_per_minute": "limits",
    "log_level": "operation",
}
"""The first setting of each group."""
_FLAGS: Final = {"schema_name": "--schema", "rate_limit_per_minute": "--rate-limit"}
_SEVERAL: Final = {
    "provider": "OMP_PROVIDER",
    "url": "OMP_URL, OMP_POSTGRES_URL, OMP_DB_PATH",
    "base_url": "OMP_BASE_URL",
}


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
    for name, field in ServerSettings.model_fields.items():
        if name in _GROUPS:
            group = parser.add_argument_group(_GROUPS[name])
        if name != "api_key":  # never on a command line, which everyone on the machine can read
            group.add_argument(flag_of(name), dest=name, help=_help(name, field), **_kind_of(field))
    return parser


def flag_of(name: str) -> str:
    """Return the flag of a setting."""
    return _FLAGS.get(name, "--" + name.replace("_", "-"))


def _help(name: str, field: FieldInfo) -> str:
    default = "yes" if field.default is True else field.default
    text = f"{field.description}; {default}" if default else f"{field.description}"
    return f"{text}  [{_SEVERAL.get(name) or VARIABLES[name]}]"


def _kind_of(field: FieldInfo) -> dict[str, Any]:
    """Return how argparse reads a setting; what a list is made of, the settings read themselves."""
    kinds = {part for one in (field.annotation, *get_args(field.annotation)) for part in (one, *get_args(one))}
    if bool in kinds:
        return {"action": argparse.BooleanOptionalAction}
    if get_origin(field.annotation) is Literal:
        return {"choices": get_args(field.annotation)}
    for number in (int, float):
        if number in kinds:
            return {"type": number, "metavar": "N"}
    return {"metavar": "LIST" if get_origin(field.annotation) is tuple else "TEXT"}
