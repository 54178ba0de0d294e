"""`omp copy`: all memories of one store into another, whatever the providers."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias

import typer

from openmem.cli import output
from openmem.cli.progress import Progress
from openmem.cli.session import FAILED
from openmem.cli.transfer_checkpoint import Notes

if TYPE_CHECKING:
    from openmem import Memory
    from openmem.types import TransferProgress, TransferReport

    Run: TypeAlias = Callable[[TransferProgress | None], TransferReport]

Conflict: TypeAlias = Literal["skip", "overwrite"]

_LOCATION: Final = "A file, postgresql://…, http(s)://… of an OMP server, a provider's name, or NAME+http(s)://…"
_VERBS: Final = {"survey": "looked at", "copy": "copied", "verify": "compared"}
_NAME_OF_KEY: Final = "OMP_{}_API_KEY"
_PASSWORD: Final = re.compile(r"(://[^/@:]*):[^/@]*(?=@)|(?<=[?&])password=[^&]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """The options that say what is copied from where to where."""

    from_: Annotated[str, typer.Option("--from", metavar="LOCATION", help=f"Where memories are. {_LOCATION}")]
    to: Annotated[str, typer.Option(metavar="LOCATION", help="Where they are to go, in the same words.")]
    from_options: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A JSON file with options of the location, as Memory(…) takes them."),
    ] = None
    to_options: Annotated[Path | None, typer.Option(metavar="FILE", help="The same for the other location.")] = None
    user: Annotated[
        str | None, typer.Option(metavar="USER", help="Only this user's memories; those of all users unless given.")
    ] = None
    app: Annotated[str, typer.Option(metavar="APP", help="The app that the audit logs name.")] = "cli"
    embedder: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The target's: none, fastembed[:MODEL[@FOLDER]] or openai:MODEL.  [env var: OMP_EMBEDDER]",
        ),
    ] = None
    timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="How long a step may take; no limit unless given.")
    ] = None
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, errors too.")] = False

    def check(self) -> None:
        """Refuse a source that is not there, and a copy of a location to itself."""
        from openmem import redacted_url

        file = _file_of(self.from_)
        if file is not None and not file.exists():
            raise typer.BadParameter(f"--from: there is no file {redacted_url(self.from_)}")
        if (_resolved(self.from_), self.from_options) == (_resolved(self.to), self.to_options):
            raise typer.BadParameter("--to: is the same location as --from")

    def source(self) -> Memory:
        """Return the memory that is read."""
        return self._memory("FROM", self.from_, self.from_options, "none", create=False)

    def target(self) -> Memory:
        """Return the memory that is written."""
        return self._memory("TO", self.to, self.to_options, self.embedder, create=True)

    def _memory(self, end: str, location: str, options: Path | None, embedder: str | None, *, create: bool) -> Memory:
        from openmem import Memory

        given = {"api_key": os.environ.get(_NAME_OF_KEY.format(end)) or None, "embedder": embedder}
        own = {} if options is None else read_options(options)
        return Memory(
            **{**given, **arguments_for(location), "app": self.app, "timeout": self.timeout, "create": create, **own}
        )


def copy(
    ends: Ends,
    conflict: Annotated[
        Conflict, typer.Option(metavar="skip|overwrite", help="What to do with a memory that is there already.")
    ] = "skip",
    lossy: Annotated[bool, typer.Option("--lossy", help="Go on without what the target cannot hold.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be copied and lost.")] = False,
    batch: Annotated[int, typer.Option(metavar="N", min=1, max=500, help="How many at once.")] = 100,
    state: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to note how far it is, for the case of an interruption.")
    ] = None,
) -> None:
    """Copy memories from one store to another.

    Ids, times, validity and supersession stay. If it was interrupted, the same command goes on where it stopped. In
    the end both stores are compared; the exit code is 1 unless everything is there. Keys of services are read from
    OMP_FROM_API_KEY and OMP_TO_API_KEY, or where each provider looks for its own.
    """
    ends.check()
    notes = Notes(state or default_notes(ends), fingerprint(ends))
    resume = None if dry_run else notes.read()
    with ends.source() as source, ends.target() as target, Stages(quiet=ends.as_json) as stages:

        def advance(progress: TransferProgress) -> None:
            stages.show(progress)
            if progress.cursor is not None:
                notes.write(progress)

        def run(start: TransferProgress | None) -> TransferReport:
            return source.transfer(
                target,
                user_id=ends.user,
                conflict=conflict,
                lossy=lossy,
                dry_run=dry_run,
                limit=batch,
                resume=start,
                on_progress=advance,
                timeout=ends.timeout,
            )

        try:
            report = _going_on(run, resume, stages.say)
        except BaseException:
            written = None if dry_run else notes.read()
            if written is not None:
                stages.say(f"Stopped after {output.plural(written.done)}. The same command goes on there.")
            raise
    if not dry_run:
        notes.forget()
    _show(report, ends.as_json, dry_run)
    if not dry_run and (report.missing or report.different):
        raise typer.Exit(FAILED)


class Stages:
    """A progress display for each stage."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._stage = ""
        self._progress: Progress | None = None

    def __enter__(self) -> Stages:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._end()

    def say(self, text: str) -> None:
        """Say something between two stages."""
        if not self._quiet:
            output.say(text)

    def show(self, progress: TransferProgress) -> None:
        """Show how far the stage is; a new stage has a display of its own."""
        if progress.stage != self._stage:
            self._end()
            self._stage = progress.stage
            self._progress = Progress(_VERBS[progress.stage], quiet=self._quiet, line_every=1_000)
        if self._progress is not None:
            self._progress(progress.done, progress.total)

    def _end(self) -> None:
        if self._progress is not None:
            self._progress.__exit__(None, None, None)


def default_notes(ends: Ends) -> Path:
    """Return where the notes of a copy are: a file of its own for each pair of locations, users and options."""
    from platformdirs import user_config_path

    name = Path("copies", f"{fingerprint(ends)}.json")
    today = user_config_path("openmem", appauthor=False, roaming=True) / name
    # Of earlier versions. Elsewhere, if XDG_CONFIG_HOME is set on macOS, or is relative.
    earlier = Path(typer.get_app_dir("openmem")) / name
    return earlier if earlier.exists() and not today.exists() else today


def fingerprint(ends: Ends) -> str:
    """Return what tells a copy from others: a digest of locations, options and user, without passwords."""
    locations = [_PASSWORD.sub(r"\1", location) for location in (_resolved(ends.from_), _resolved(ends.to))]
    options = [str(path and path.resolve()) for path in (ends.from_options, ends.to_options)]
    return hashlib.sha256(json.dumps([*locations, *options, ends.user]).encode()).hexdigest()[:16]


def arguments_for(text: str) -> dict[str, str]:
    """Return the arguments of `Memory` that a location stands for.

    `NAME+http(s)://…` is a provider at an address, a bare word is a provider, everything else is a URL or a file.
    """
    name, plus, address = text.partition("+")
    if plus and name.isidentifier() and address.startswith(("http://", "https://")):
        return {"provider": name, "base_url": address}
    if text.isidentifier():
        return {"provider": text}
    return {"url": text}


def _file_of(location: str) -> Path | None:
    """Return the file that a location is, or `None` for a location elsewhere."""
    name = arguments_for(location).get("url", "").removeprefix("sqlite:///")
    return Path(name) if name and "://" not in name else None


def _resolved(location: str) -> str:
    """Return a location in a form that tells it from others: files by their whole paths."""
    file = _file_of(location)
    return location if file is None else str(file.resolve())


def read_options(path: Path) -> dict[str, Any]:
    """Return the options that a JSON file holds.

    Raises:
        typer.BadParameter: It holds no JSON object.
    """
    try:
        options = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise typer.BadParameter(f"{path}: is not JSON: {error}") from None
    if not isinstance(options, dict):
        raise typer.BadParameter(f'{path}: must hold an object such as {{"schema": "openmem"}}')
    return options


def _going_on(run: Run, start: TransferProgress | None, say: Callable[[str], None]) -> TransferReport:
    """Run from where the notes say, or from the beginning if the source no longer knows that location."""
    from openmem import InvalidRequestError

    if start is not None:
        say(f"Going on after {output.plural(start.done)}.")
    try:
        return run(start)
    except InvalidRequestError as error:
        if start is None or "cursor" not in error.message:
            raise
        say("The notes no longer fit: starting over. What is there already is passed over.")
        return run(None)


def _show(report: TransferReport, as_json: bool, dry_run: bool) -> None:
    if as_json:
        output.show_json(output.fields_of(report))
        return
    for loss in report.losses:
        fate = "stay behind" if loss.stays else "arrive without it"
        output.say(f"{report.target} cannot hold {loss.what}: {output.plural(loss.memories)} {fate}.")
    if dry_run:
        output.show(f"{output.plural(report.memories)} would be copied from {report.source} to {report.target}.")
        return
    done = ("imported", "overwritten", "skipped", "left_behind", "verified", "missing", "different")
    output.show_rows(["outcome", "memories"], [[name.replace("_", " "), str(getattr(report, name))] for name in done])
    if report.missing or report.different:
        output.say(f"Error: not everything is in {report.target} as in {report.source}: {', '.join(report.examples)}")
    elif report.verified:
        output.say(f"All {output.plural(report.verified)} found again in {report.target}, field by field.")
