"""The commands, and the module of each. Loading one does not load the others."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from importlib import import_module
from typing import Any, Final

import typer
from typer.core import TyperGroup
from typer.main import get_command

from openmem.cli.session import FLAGS, SHARED_OPTIONS, command

# name: module and function, or what registers it, or the group. In the order of the help.
COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "remember": ("add", "remember"),
    "recall": ("search", "recall"),
    "context": ("search", "context"),
    "list": ("search", "list_"),
    "get": ("search", "get"),
    "update": ("add", "update"),
    "forget": ("delete", "forget"),
    "history": ("audit", "history"),
    "audit": ("audit", "audit"),
    "changes": ("changes", "changes"),
    "scopes": ("overview", "scopes"),
    "tags": ("overview", "tags"),
    "users": ("overview", "users"),
    "export": ("export_import", "export"),
    "import": ("export_import", "import_"),
    "copy": ("transfer", "copy"),
    "reembed": ("maintenance", "reembed"),
    "migrate": ("maintenance", "migrate"),
    "maintain": ("maintenance", "maintain"),
    "doctor": ("doctor", "doctor"),
    "serve": ("serve", "register"),
    "keys": ("keys", "app"),
    "hooks": ("hooks", "app"),
}
GROUPS: Final = frozenset({"keys", "hooks"})
ALIASES: Final = {"add": "remember", "search": "recall", "delete": "forget"}
"""Names of the verbs in Python and over HTTP, which the command takes, too."""


class Commands(TyperGroup):
    """The group `omp`: a command is loaded when it is called, aliases are not listed, and options that every command
    takes may stand before the command."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = OnDemand()

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names that help shows."""
        return [*COMMANDS]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse what stands before the command, and hand on what belongs to the command."""
        return super().parse_args(ctx, behind_the_command(args))


class OnDemand(MutableMapping[str, Any]):
    """Commands by name, aliases too. Each is made when it is asked for."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = _make(name, *COMMANDS[ALIASES.get(name, name)])
        return self._made[name]

    def __setitem__(self, name: str, made: Any) -> None:
        self._made[name] = made

    def __delitem__(self, name: str) -> None:
        del self._made[name]

    def __contains__(self, name: object) -> bool:
        return name in COMMANDS or name in ALIASES

    def __iter__(self) -> Iterator[str]:
        return iter([*COMMANDS, *ALIASES])

    def __len__(self) -> int:
        return len(COMMANDS) + len(ALIASES)


def behind_the_command(args: list[str]) -> list[str]:
    """Return the arguments with the options that every command takes moved from before the command to behind it."""
    ahead: list[str] = []
    rest = [*args]
    while rest:
        name, given, _ = rest[0].partition("=")
        if name not in SHARED_OPTIONS - {"--help"}:
            break
        words = 1 if given or name in FLAGS else 2
        ahead += rest[:words]
        rest = rest[words:]
    depth = 2 if rest[:1] and rest[0] in GROUPS and rest[1:2] and not rest[1].startswith("-") else 1
    # Without a command they would belong to nothing: help is shown, or what asked for it.
    return rest if not rest or rest[0].startswith("-") else [*rest[:depth], *ahead, *rest[depth:]]


def _make(name: str, module: str, attribute: str) -> Any:
    found = getattr(import_module(f"openmem.cli.{module}"), attribute)
    if isinstance(found, typer.Typer):
        made = get_command(found)
        made.name = name
        return made
    single = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)
    if attribute == "register":
        found(single)
    else:
        command(single, name)(found)
    return get_command(single)
