"""Runs a real Letta server on this machine and the opt-in tests against it. `make test-letta` calls it.

    python -m tests.vendor.letta_server FOLDER [pytest arguments]

FOLDER holds a virtual environment with `letta==0.16.8`. Its database is the Postgres of the test suite; its embeddings
come from a stub on a loopback socket, so nothing is asked of the network. Everything it writes is thrown away.
"""

from __future__ import annotations

import base64
import os
import struct
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from openmem.testing import HashEmbedder
from openmem.testing._postgres.cluster import free_port
from openmem.testing.postgres import postgres_server
from tests.vendor.loopback import Loopback, Reply

DIMENSIONS = 1_536
START = 300.0
NOWHERE = "http://127.0.0.1:9"
TESTS = (
    "tests/_async/test_letta_live.py",
    "tests/_sync/test_letta_live.py",
    "tests/_async/test_letta_live_conformance.py",
)
# The wheel ships no migrations: its tables are made from its classes.
SCHEMA = """
import asyncio, os
import letta.orm
from letta.orm.base import Base
from sqlalchemy.ext.asyncio import create_async_engine

async def main():
    engine = create_async_engine(os.environ["LETTA_PG_URI"].replace("postgresql://", "postgresql+asyncpg://"))
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        await connection.exec_driver_sql("CREATE SEQUENCE IF NOT EXISTS message_seq_id")
        await connection.exec_driver_sql(
            "ALTER TABLE messages ALTER COLUMN sequence_id SET DEFAULT nextval('message_seq_id')")
    await engine.dispose()

asyncio.run(main())
"""


def main(folder: Path, arguments: list[str]) -> int:
    """Return the exit code of the tests."""
    with tempfile.TemporaryDirectory() as home, postgres_server(fsync=False, private=True) as postgres:
        database = postgres.new_database()
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        stub = Loopback(_embeddings)
        try:
            with _letta(folder / "bin", Path(home), database, stub.url) as url:
                environment = {**os.environ, "LETTA_TEST_BASE_URL": url}
                named = any(Path(argument.partition("::")[0]).exists() for argument in arguments)
                command = [sys.executable, "-m", "pytest", *arguments, *(() if named else TESTS)]
                return subprocess.run(command, env=environment, check=False).returncode
        finally:
            stub.close()


@contextmanager
def _letta(programs: Path, home: Path, database: str, models: str) -> Iterator[str]:
    environment = {
        **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        "LETTA_PG_URI": database,
        "LETTA_DIR": str(home),
        "HOME": str(home),
        "LETTA_DISABLE_TRACING": "true",
        "OPENAI_API_KEY": "unused",
        "OPENAI_API_BASE": f"{models}/v1",
        "OPENAI_BASE_URL": f"{models}/v1",
        # What it would fetch for other purposes fails at once.
        "HTTP_PROXY": NOWHERE,
        "HTTPS_PROXY": NOWHERE,
        "NO_PROXY": "127.0.0.1,localhost",
    }
    subprocess.run([programs / "python", "-c", SCHEMA], env=environment, cwd=home, check=True)
    url = f"http://127.0.0.1:{(port := free_port())}"
    command = [str(programs / "letta"), "server", "--host", "127.0.0.1", "--port", str(port)]
    with (home / "server.log").open("wb") as log:
        server = subprocess.Popen(command, env=environment, cwd=home, stdout=log, stderr=log)
        try:
            _wait(server, url, home / "server.log")
            yield url
        finally:
            server.terminate()
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _wait(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/v1/health/", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise SystemExit("letta did not start:\n" + log.read_text(errors="replace")[-4_000:])


def _embeddings(method: str, path: str, query: dict[str, str], headers: dict[str, str], body: Any) -> Reply:
    if not path.endswith("/embeddings"):
        return 200, {"object": "list", "data": []}, {}
    texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
    rows = []
    for number, vector in enumerate(HashEmbedder().embed([str(text) for text in texts])):
        padded: Any = [*vector, *[0.0] * (body.get("dimensions", DIMENSIONS) - len(vector))]
        if body.get("encoding_format") == "base64":
            padded = base64.b64encode(struct.pack(f"<{len(padded)}f", *padded)).decode()
        rows.append({"object": "embedding", "index": number, "embedding": padded})
    usage = {"prompt_tokens": 1, "total_tokens": 1}
    return 200, {"object": "list", "data": rows, "model": body["model"], "usage": usage}, {}


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).absolute(), sys.argv[2:]))
