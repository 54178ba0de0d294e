"""`omp keys`: the keys of a server, and their grants."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from openmem.cli import output
from openmem.cli.options import later
from openmem.cli.session import DEFAULT_TIMEOUT, command, is_missing

if TYPE_CHECKING:
    from openmem import ServerStore
    from openmem._model.keys import KeyInfo, NewKey

ANY_USER: Final = "*"
COLUMNS: Final = ("id", "app", "user", "grants", "created", "expires", "last used", "state")

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Make, list and revoke the keys of a server.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOptions:
    """The options that every one of these commands takes."""

    store: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Where the server keeps its keys.  [env var: OMP_SERVER_STORE]"),
    ] = None
    url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Where the memories are; the keys are there, too.  [env var: OMP_URL]"),
    ] = None
    provider: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="sqlite, postgres or another provider.  [env var: OMP_PROVIDER]"),
    ] = None
    timeout: Annotated[float, typer.Option(metavar="SECONDS", help="How long it may take.")] = DEFAULT_TIMEOUT
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, errors too.")] = False

    def address(self) -> str:
        """Return where the keys are."""
        from openmem import server_store_url

        return server_store_url(self.url, store=self.store, provider=self.provider)

    def open(self, *, create: bool = False) -> ServerStore:
        """Return the store, not opened yet; only `create` makes one where there is none."""
        from openmem import ServerStore

        return ServerStore(self.address(), statement_cache=False, timeout=self.timeout, create=create)


KeyId = Annotated[str, typer.Argument(metavar="ID", help="The key's id, as omp keys list shows it.")]


@command(app)
def create(
    options: StoreOptions,
    app: Annotated[str, typer.Option(metavar="APP", help="The app that it is for; the audit log shows it.")],
    user: Annotated[str, typer.Option(metavar="USER", help="Whose memories it reaches; '*' is any user.")],
    grant: Annotated[
        list[str],
        typer.Option(
            metavar="VERB:SCOPE",
            help="What it may do: read, write, delete or admin, and where, such as read:coding/*; may be repeated.",
        ),
    ],
    expires: Annotated[
        datetime | None,
        typer.Option(metavar="WHEN", parser=later, help="Until when it is good: 90d, 12h, 30m or a date."),
    ] = None,
) -> None:
    """Make a key and print it, once.

    Only a hash of it is stored.
    """
    with options.open(create=True) as store:
        made = store.create_key(app=app, user_id=_user_id(user), grants=grant, expires_at=expires)
    where = _shown(options.address())
    if options.as_json:
        output.show_json({**_document(made.info), "secret": made.secret, "store": where})
    else:
        _show_new(made, where)


@command(app, "list")
def list_(options: StoreOptions) -> None:
    """List the keys, oldest first, without their secrets."""
    from openmem.errors import ProviderUnavailableError

    try:
        with options.open() as store:
            found = store.list_keys()
    except ProviderUnavailableError as error:
        if not is_missing(error):
            raise
        found = []
    if options.as_json:
        output.show_json({"keys": [_document(info) for info in found]})
        return
    output.show_rows(COLUMNS, [_row(info) for info in found])
    if not found:
        output.say(f"There are no keys in {output.one_line(_shown(options.address()))}.")


@command(app)
def revoke(options: StoreOptions, id: KeyId) -> None:
    """Revoke a key for good."""
    with options.open() as store:
        info = store.revoke_key(id)
    if options.as_json:
        output.show_json(_document(info))
    else:
        output.show(f"Revoked: {info.id}" if output.on_terminal() else info.id)


def _user_id(text: str) -> str | None:
    return None if text == ANY_USER else text


def _show_new(made: NewKey, where: str) -> None:
    output.show(made.secret)
    output.say(f"This is the key {made.info.id}. Keep it now: it will not be shown again.")
    output.say(f"Only a hash of it is stored, in {output.one_line(where)}.")


def _row(info: KeyInfo) -> list[str]:
    return [
        info.id,
        info.app,
        info.user_id or ANY_USER,
        ", ".join(map(str, info.grants)),
        output.at(info.created_at),
        output.at(info.expires_at),
        output.at(info.last_used_at),
        info.state(datetime.now(UTC)),
    ]


def _document(info: KeyInfo) -> dict[str, Any]:
    times = ("created_at", "expires_at", "last_used_at", "revoked_at")
    return {
        "id": info.id,
        "app": info.app,
        "user_id": info.user_id or ANY_USER,
        "grants": [str(grant) for grant in info.grants],
        "state": info.state(datetime.now(UTC)),
        **{name: moment.isoformat() for name in times if (moment := getattr(info, name)) is not None},
    }


def _shown(url: str) -> str:
    from openmem import redacted_url

    schema = ", schema openmem_server" if url.startswith(("postgresql:", "postgres:")) else ""
    return f"{redacted_url(url)}{schema}"
