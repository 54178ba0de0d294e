"""`omp hooks`: addresses that a server tells of changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from openmem.cli import output
from openmem.cli.keys import ANY_USER, StoreOptions
from openmem.cli.session import FAILED, command, is_missing

if TYPE_CHECKING:
    from openmem._model.hooks import DeadLetter, HookInfo, NewHook

COLUMNS: Final = ("id", "user", "scope", "events", "content", "state", "failures", "dead letters", "last error", "url")
LETTER_COLUMNS: Final = ("id", "hook", "changes", "attempts", "failed", "waiting", "error")

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Make, list and remove the hooks of a server: addresses that it tells of changes.",
)

HookId = Annotated[str, typer.Argument(metavar="ID", help="The hook's id, as omp hooks list shows it.")]
OfHook = Annotated[str | None, typer.Option(metavar="ID", help="Only those of this hook.")]


@command(app)
def add(
    options: StoreOptions,
    address: Annotated[
        str, typer.Argument(metavar="URL", help="Where messages are sent, such as https://example.com/x.")
    ],
    user: Annotated[str, typer.Option(metavar="USER", help="Whose changes it is told of; '*' is any user.")],
    scope: Annotated[
        str | None, typer.Option(metavar="SCOPE", help="Only changes in this scope; coding/* takes in those below.")
    ] = None,
    event: Annotated[
        list[str] | None,
        typer.Option(metavar="ACTION", help="Only add, update, delete or delete_all; may be repeated."),
    ] = None,
    content: Annotated[bool, typer.Option("--content", help="Send the memories, too.")] = False,
    from_start: Annotated[
        bool, typer.Option("--from-start", help="Tell it of earlier changes that the feed still has, too.")
    ] = False,
) -> None:
    """Make a hook and print the secret that its messages are signed with, once.

    A running server over the same store begins to deliver within seconds.
    """
    with options.open(create=True) as store:
        made = store.create_hook(
            address,
            user_id=None if user == ANY_USER else user,
            scope=scope,
            events=event,
            content=content,
            from_start=from_start,
        )
    if options.as_json:
        output.show_json({**_document(made.info), "secret": made.secret})
    else:
        _show_new(made)


@command(app, "list")
def list_(options: StoreOptions) -> None:
    """List the hooks, oldest first, without their secrets."""
    from openmem.errors import ProviderUnavailableError

    try:
        with options.open() as store:
            found = store.list_hooks()
    except ProviderUnavailableError as error:
        if not is_missing(error):
            raise
        found = []
    if options.as_json:
        output.show_json({"hooks": [_document(info) for info in found]})
        return
    output.show_rows(COLUMNS, [_row(info) for info in found])
    if not found:
        output.say("There are no hooks.")


@command(app)
def remove(options: StoreOptions, id: HookId) -> None:
    """Remove a hook: it is told of nothing more."""
    with options.open() as store:
        store.remove_hook(id)
    _done(options, {"id": id, "removed": True}, f"Removed: {id}", id)


@command(app)
def enable(options: StoreOptions, id: HookId) -> None:
    """Have a hook go on: one that was disabled where it stopped, one that failed at once."""
    with options.open() as store:
        store.enable_hook(id)
    _done(options, {"id": id, "state": "active"}, f"Enabled: {id}", id)


@command(app, "test")
def send_test(
    options: StoreOptions,
    id: HookId,
    allow_private: Annotated[
        bool, typer.Option("--allow-private-hooks", help="Send to a private address, too.")
    ] = False,
) -> None:
    """Send a message without changes, now and from this machine, and say how that ended."""
    with options.open() as store:
        status, trouble = store.test_hook(id, allow_private=allow_private)
    taken = status is not None and 200 <= status < 300
    said = trouble or f"the receiver answered {status}"
    _done(options, {"id": id, "status": status, "error": trouble, "taken": taken}, said, said)
    if not taken:
        raise typer.Exit(FAILED)


@command(app)
def failed(
    options: StoreOptions,
    hook: OfHook = None,
    limit: Annotated[int, typer.Option(metavar="N", help="How many at most, 1 to 1,000.")] = 100,
) -> None:
    """List messages that were given up, oldest first."""
    with options.open() as store:
        found = store.dead_letters(hook, limit=limit)
    if options.as_json:
        output.show_json({"dead_letters": [_letter_document(letter) for letter in found]})
        return
    output.show_rows(LETTER_COLUMNS, [_letter_row(letter) for letter in found])
    if not found:
        output.say("No message was given up.")


@command(app)
def retry(
    options: StoreOptions,
    id: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID", help="Messages, as omp hooks failed shows them; all unless given."),
    ] = None,
    hook: OfHook = None,
) -> None:
    """Have the server send messages again that were given up."""
    with options.open() as store:
        count = store.retry_dead_letters(hook, id or None)
    text = f"To be sent again: {output.plural(count, 'message')}"
    _done(options, {"messages": count}, text, str(count))


def _done(options: StoreOptions, document: dict[str, Any], text: str, plain: str) -> None:
    if options.as_json:
        output.show_json(document)
    else:
        output.show(text if output.on_terminal() else plain)


def _show_new(made: NewHook) -> None:
    output.show(made.secret)
    output.say(f"This is the secret of the hook {made.info.id}. Give it to the receiver: it will not be shown again.")


def _row(info: HookInfo) -> list[str]:
    return [
        info.id,
        info.user_id or ANY_USER,
        info.scope or "",
        ", ".join(info.events),
        "yes" if info.content else "",
        info.state,
        str(info.failures or ""),
        str(info.dead_letters or ""),
        info.last_error or "",
        info.url,
    ]


def _document(info: HookInfo) -> dict[str, Any]:
    times = ("created_at", "next_at", "delivered_at")
    return {
        "id": info.id,
        "url": info.url,
        "user_id": info.user_id or ANY_USER,
        **({} if info.scope is None else {"scope": info.scope}),
        "events": [*info.events],
        "content": info.content,
        "state": info.state,
        "failures": info.failures,
        "dead_letters": info.dead_letters,
        **({} if info.last_error is None else {"last_error": info.last_error}),
        **{name: moment.isoformat() for name in times if (moment := getattr(info, name)) is not None},
    }


def _letter_row(letter: DeadLetter) -> list[str]:
    waiting = "yes" if letter.waiting else ""
    counts = [str(letter.changes), str(letter.attempts)]
    return [letter.id, letter.hook_id, *counts, output.at(letter.failed_at), waiting, letter.error]


def _letter_document(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "hook_id": letter.hook_id,
        "changes": letter.changes,
        "attempts": letter.attempts,
        "failed_at": letter.failed_at.isoformat(),
        "waiting": letter.waiting,
        "error": letter.error,
    }
