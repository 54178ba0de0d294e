"""`omp export` and `omp import`: memories as lines of JSON, between files, pipes and stores."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Final, Literal, TypeAlias

import typer

from openmem import ProviderError
from openmem.cli import output
from openmem.cli.progress import Progress
from openmem.cli.session import Session

if TYPE_CHECKING:
    from openmem import Memory
    from openmem.types import ImportReport

Conflict: TypeAlias = Literal["skip", "overwrite", "duplicate"]

STREAM: Final = "-"
# A line of an export has at most ten million characters, of at most four bytes.
_MOST_BYTES: Final = 40_000_001


def export(
    session: Session,
    file: Annotated[str, typer.Argument(metavar="FILE", help="Where to; - is standard output.")] = STREAM,
    all_users: Annotated[bool, typer.Option("--all-users", help="The memories of all users.")] = False,
) -> None:
    """Write memories as lines of JSON, hidden ones too."""
    owner = None if all_users else session.owner()
    with ExitStack() as stack:
        progress = stack.enter_context(Progress("exported", quiet=session.as_json))
        memory = stack.enter_context(session.open())
        write = stack.enter_context(_into_file(file)) if file != STREAM else _into_stdout
        count = _copy_out(memory, owner, write, progress)
    if session.as_json and file != STREAM:
        output.show_json({"file": file, "exported": count})
    elif not session.as_json:
        output.say(f"Exported {output.plural(count)}.")


def import_(
    session: Session,
    files: Annotated[
        list[str] | None, typer.Argument(metavar="FILE", help="What omp export wrote; - is standard input.")
    ] = None,
    conflict: Annotated[
        Conflict,
        typer.Option(metavar="skip|overwrite|duplicate", help="What to do with a memory that is there already."),
    ] = "skip",
) -> None:
    """Read what export wrote.

    The memories keep their ids, users, times and versions, so an import can be repeated.
    """
    total: dict[str, int] = {}
    with Progress("read", quiet=session.as_json) as progress, session.open(writes=True, long=True) as memory:
        for name in files or [STREAM]:
            report = _take_in(memory, name, conflict, progress)
            for field, count in report.model_dump().items():
                total[field] = total.get(field, 0) + count
    if session.as_json:
        output.show_json(total)
    else:
        output.show_rows(["outcome", "memories"], [[field, str(count)] for field, count in total.items()])


def _copy_out(memory: Memory, owner: str | None, write: Callable[[str], object], progress: Progress) -> int:
    count, cursor, heading = 0, None, 1
    seen: set[str | None] = set()
    while cursor not in seen:
        seen.add(cursor)
        page = memory.export(owner, cursor=cursor)
        write("".join(f"{line}\n" for line in page.lines))
        count += len(page.lines) - heading
        progress(count)
        cursor, heading = page.next_cursor, 0
        if cursor is None:
            return count
    raise ProviderError("the provider gave a cursor again that has led to a page already")


def _into_stdout(text: str) -> None:
    sys.stdout.write(output.safe_json(text) if output.on_terminal() else text)
    sys.stdout.flush()


@contextmanager
def _into_file(name: str) -> Iterator[Callable[[str], object]]:
    """Write to a new file that takes the place of the old one when it is complete; only its owner may read it."""
    target = Path(name)
    if target.exists() and not stat.S_ISREG(target.stat().st_mode):
        with target.open("w", encoding="utf-8", newline="\n") as stream:
            yield stream.write
        return
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        with open(part, "x", encoding="utf-8", newline="\n", opener=_private) as stream:
            yield stream.write
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _take_in(memory: Memory, name: str, conflict: Conflict, progress: Progress) -> ImportReport:
    from openmem import OMPError

    try:
        with _reading(name) as stream:
            return memory.import_(_lines(stream, progress), conflict=conflict)
    except OMPError as error:
        done = sum((error.details or {}).get("done", {}).values())
        before = f"; {output.plural(done)} before it went in" if done else ""
        error.message = f"{'standard input' if name == STREAM else name}: {error.message}{before}"
        raise


@contextmanager
def _reading(name: str) -> Iterator[IO[bytes]]:
    if name == STREAM:
        yield sys.stdin.buffer
    else:
        with open(name, "rb") as stream:
            yield stream


def _lines(stream: IO[bytes], progress: Progress) -> Iterator[str]:
    from openmem import InvalidRequestError

    for number, raw in enumerate(iter(lambda: stream.readline(_MOST_BYTES), b""), 1):
        progress.step()
        try:
            yield raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise InvalidRequestError(f"line {number}: is not UTF-8", details={"line": number}) from None
