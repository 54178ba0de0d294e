"""The shared part of every command: the store, the user, and the way failures end."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias, cast

import typer

from openmem.cli import output

if TYPE_CHECKING:
    from openmem import Memory, OMPError

Work: TypeAlias = Callable[..., None]

DEFAULT_TIMEOUT: Final = 30.0
# Errors that are better understood by those who know which store was asked.
_OF_A_STORE: Final = frozenset({"provider_error", "provider_unavailable", "deadline_exceeded", "unauthorized"})
_LOCATIONS: Final = ("OMP_URL", "OMP_DB_PATH", "OMP_POSTGRES_URL")
FAILED: Final = 1
MISUSED: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """The options that every command takes."""

    url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Where the memories are: a file or postgresql://…  [env var: OMP_URL]"),
    ] = None
    provider: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="sqlite, postgres or another provider.  [env var: OMP_PROVIDER]"),
    ] = None
    user: Annotated[
        str | None,
        typer.Option(metavar="USER", envvar="OMP_USER", help="Whose memories; your login name unless given."),
    ] = None
    app: Annotated[str, typer.Option(metavar="APP", help="The app that the audit log names.")] = "cli"
    embedder: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="none, fastembed[:MODEL[@FOLDER]] or openai:MODEL.  [env var: OMP_EMBEDDER]",
        ),
    ] = None
    schema: Annotated[
        str | None,
        typer.Option(metavar="SCHEMA", help="The schema on Postgres; openmem unless given.  [env var: OMP_SCHEMA]"),
    ] = None
    timeout: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="How long a step may take; 30, and no limit for long work."),
    ] = None
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, errors too.")] = False

    def owner(self) -> str:
        """Return whose memories are meant: as given, or the login name."""
        if self.user is not None:
            return self.user
        import getpass

        try:
            return getpass.getuser()
        except (OSError, KeyError, ImportError):
            raise typer.BadParameter("you have no login name; give --user or set OMP_USER") from None

    @contextmanager
    def open(self, *, writes: bool = False, long: bool = False, **options: Any) -> Iterator[Memory]:
        """Give the memory that is meant. Its first verb opens it, once its arguments were found to be right.

        Args:
            writes: The command stores something: a store that is not there yet is made, which is said. For any other
                command it is an error, since most likely the location was mistyped.
            long: The work may take any time, unless the user set a limit.
            **options: What only the provider knows.
        """
        memory = self.memory(long=long, create=writes, **options)
        try:
            yield memory
        finally:
            memory.close()
            if memory.made_store and self._is_named() and not self.as_json:
                output.say(f"A new store was made: {output.one_line(memory.place or '')}")

    def _is_named(self) -> bool:
        # The default location cannot be mistyped: the first memory of all needs no further word.
        return self.url is not None or any(map(os.environ.get, _LOCATIONS))

    def memory(self, *, long: bool = False, create: bool = False, **options: Any) -> Memory:
        """Return the memory that is meant, not opened yet.

        Args:
            long: The work may take any time, unless the user set a limit.
            create: Make the store if there is none.
            **options: What only the provider knows.
        """
        from openmem import Memory
        from openmem.providers import ProviderName

        limit = self.timeout if long or self.timeout is not None else DEFAULT_TIMEOUT
        if self.schema is not None:
            options["schema"] = self.schema
        options |= {"embedder": self.embedder, "app": self.app, "timeout": limit, "create": create}
        named = None if self.provider is None else ProviderName(self.provider)
        return Memory(named, url=self.url, **options)


FLAGS: Final = frozenset({"--json", "--help"})  # those that take no value
# The names of those options, and of the one that typer adds.
SHARED_OPTIONS: Final = frozenset(
    {"--json", "--help"} | {f"--{field.name}" for field in fields(Session) if field.name != "as_json"}
)


def command(app: typer.Typer, name: str | None = None) -> Callable[[Work], Work]:
    """Return a decorator that makes a command of a function.

    The class of the first argument says which options it shares with other commands: `Session`, or another with a
    field `as_json` at least.

    Args:
        app: Where the command is added.
        name: What it is called, if not like the function.
    """

    def register(work: Work) -> Work:
        first, *own = inspect.signature(work, eval_str=True).parameters.values()
        options = first.annotation

        def run(**values: Any) -> None:
            session = options(**{field.name: values.pop(field.name) for field in fields(options)})
            with failures(session.as_json):
                work(session, **values)

        shown = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in [*own, *_shared(options)]]
        described = cast("Any", run)
        described.__signature__ = inspect.Signature(shown)
        described.__annotations__ = {parameter.name: parameter.annotation for parameter in shown}
        described.__doc__ = work.__doc__
        app.command(name or work.__name__)(run)
        return work

    return register


@contextmanager
def failures(as_json: bool) -> Iterator[None]:
    """Turn the errors that a user can meet into a message on standard error and an exit code."""
    from openmem import OMPError

    try:
        yield
    except OMPError as error:
        _report(error, as_json)
        raise typer.Exit(exit_code(error)) from None
    except BrokenPipeError:
        raise  # the reader of the output has closed it; typer ends quietly
    except OSError as error:
        _report_text(output.what_failed(error), "os_error", as_json)
        raise typer.Exit(FAILED) from None


def is_missing(error: OMPError) -> bool:
    """Return whether the error says that there is no store yet."""
    return (error.details or {}).get("missing") == "store"


def exit_code(error: OMPError) -> int:
    """Return 2 for an argument that breaks the contract, 1 for everything else."""
    from openmem import InvalidRequestError

    # A bad line of a file is no misuse of the command.
    in_file = bool(error.details and "line" in error.details)
    return MISUSED if isinstance(error, InvalidRequestError) and not in_file else FAILED


def _report(error: OMPError, as_json: bool) -> None:
    if error.place is not None and error.code in _OF_A_STORE and error.place not in error.message:
        error.message += f" ({error.place})"
    if is_missing(error):
        error.message += "; a command that stores something makes one"
    if as_json:
        output.say(output.dump(error.to_envelope(), indent=None))
    else:
        output.say(f"Error: {output.printable(error.message)}")


def _report_text(message: str, code: str, as_json: bool) -> None:
    if as_json:
        output.say(output.dump({"error": {"code": code, "message": message, "type": "os"}}, indent=None))
    else:
        output.say(f"Error: {output.printable(message)}")


def _shared(options: type[Any]) -> list[inspect.Parameter]:
    hints = inspect.get_annotations(options, eval_str=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in fields(options)
    ]
