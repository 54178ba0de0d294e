"""Rules about overviews: scopes, tags and users, with counts that agree with what `list` shows."""

from __future__ import annotations

import pytest

from openmem import AsyncMemory
from openmem.errors import InvalidRequestError
from openmem.testing._async.rules import Rules, needs
from openmem.testing.moments import days
from openmem.types import MemoryRecord, Overview, ScopeInfo, UserInfo

STORED = ["home", "home/a", "home/a/b", "home/c", "home2", "h%", None]


def counts_of(infos: Overview[ScopeInfo]) -> dict[str | None, tuple[int, int, int]]:
    """Return the counts of each scope: current, superseded, expired."""
    for info in infos:
        assert {type(count) for count in (info.current, info.superseded, info.expired)} == {int}, "true is no count"
    return {info.scope: (info.current, info.superseded, info.expired) for info in infos}


def last_change(records: list[MemoryRecord]) -> object:
    """Return when the last of some memories was stored or changed."""
    return max(record.updated_at or record.created_at for record in records)


class OverviewRules(Rules):
    """scopes, tags, users."""

    async def test_user_without_memories_has_no_scopes_and_no_tags(self, memory: AsyncMemory) -> None:
        """Both overviews are empty for a user who has no memory, and say that nothing is left off.

        If this fails, check that a user who is not known is none that is refused.
        """
        await self.remember(memory, "ann", "tea", tags=["drink"])
        for found in (await memory.scopes("bob"), await memory.tags("bob")):
            assert (list(found), found.truncated) == ([], False)

    async def test_memories_without_a_scope_count_under_none(self, memory: AsyncMemory) -> None:
        """A memory that has no scope counts under `None`, and `last_change` is when the newest was stored.

        If this fails, check that rows without a scope are not left out of the counts.
        """
        for content in ("tea", "coffee"):
            await self.remember(memory, "ann", content)
        await self.remember(memory, "bob", "water")
        [info] = await memory.scopes("ann")
        assert (info.scope, info.current, info.superseded, info.expired) == (None, 2, 0, 0)
        assert info.last_change == last_change(await self.listed(memory, "ann"))

    @needs("scopes")
    async def test_scopes_come_in_the_order_of_their_paths_with_counts(self, memory: AsyncMemory) -> None:
        """`scopes` names each scope once, in the order of the code points of its path, those without one first.

        If this fails, check that the order is not that of a language or of case-blind text.
        """
        for scope in [*STORED, "home/a", "Home", "höme"]:
            await self.remember(memory, "ann", f"tea {scope}", scope=scope)
        infos = await memory.scopes("ann")
        plain = sorted([scope for scope in STORED if scope is not None] + ["Home", "höme"])
        assert [info.scope for info in infos] == [None, *plain]
        assert counts_of(infos)["home/a"] == (2, 0, 0)
        for info in infos:
            if info.scope is not None:
                shown = await self.listed(memory, "ann", scope=info.scope)
                assert (info.current, info.last_change) == (len(shown), last_change(shown)), info.scope

    @needs("scopes")
    async def test_prefix_is_a_path_and_depth_folds_what_is_below(self, memory: AsyncMemory) -> None:
        """`prefix` keeps a scope and those below it, no neighbour; `depth` counts deeper ones as part of it.

        If this fails, check that a prefix ends at a segment, and that depth counts from the root.
        """
        for scope in STORED:
            await self.remember(memory, "ann", f"tea {scope}", scope=scope)
        one = (1, 0, 0)
        below = {"home": one, "home/a": one, "home/a/b": one, "home/c": one}
        assert counts_of(await memory.scopes("ann", prefix="home")) == below
        assert counts_of(await memory.scopes("ann", prefix="home/*")) == below
        assert counts_of(await memory.scopes("ann", prefix="home/a/b")) == {"home/a/b": one}
        assert counts_of(await memory.scopes("ann", prefix="h%")) == {"h%": one}
        assert counts_of(await memory.scopes("ann", prefix="absent")) == {}
        folded = {None: one, "h%": one, "home": (4, 0, 0), "home2": one}
        assert counts_of(await memory.scopes("ann", depth=1)) == folded
        assert counts_of(await memory.scopes("ann", prefix="home", depth=2)) == {
            "home": one,
            "home/a": (2, 0, 0),
            "home/c": one,
        }
        assert counts_of(await memory.scopes("ann", depth=9)) == dict.fromkeys(STORED, one)
        with pytest.raises(InvalidRequestError, match="depth"):
            await memory.scopes("ann", prefix="home/a", depth=1)

    @needs("scopes", "temporal", "supersession")
    async def test_memory_counts_once_by_how_it_stands_now(self, memory: AsyncMemory) -> None:
        """A memory that another one hides is superseded, any other outside of its validity expired, the rest current.

        If this fails, check that one which is both counts as superseded, and only there.
        """
        old = await self.remember(memory, "ann", "tea one", scope="home")
        both = await self.remember(memory, "ann", "tea two", scope="home", valid_from=days(-9), valid_to=days(-8))
        await self.remember(memory, "ann", "tea three", scope="home", valid_to=days(-1))
        await self.remember(memory, "ann", "tea four", scope="home", valid_from=days(9))
        await self.remember(memory, "ann", "tea five", scope="work", supersedes=[old.id, both.id])
        await self.remember(memory, "ann", "tea six", scope="home")
        infos = await memory.scopes("ann")
        assert counts_of(infos) == {"home": (1, 2, 2), "work": (1, 0, 0)}
        every = await self.listed(memory, "ann", scope="home", include_superseded=True, include_expired=True)
        assert infos[0].last_change == last_change(every)

    @needs("scopes", "updates")
    async def test_overviews_follow_changes_and_deletions(self, memory: AsyncMemory) -> None:
        """A memory that is moved counts where it is now, and a deleted one nowhere; a scope without any is not named.

        If this fails, check that no count is kept apart from the memories.
        """
        kept = await self.remember(memory, "ann", "tea", scope="home", tags=["drink"])
        gone = await self.remember(memory, "ann", "coffee", scope="home", tags=["drink", "black"])
        moved = await memory.update(kept.id, scope="work", tags=["cup"])
        await self.settle(memory, [kept.id], "ann")
        await memory.delete(gone.id, user_id="ann")
        [info] = await memory.scopes("ann")
        assert (info.scope, info.current, info.last_change) == ("work", 1, moved.updated_at)
        assert [(info.tag, info.count) for info in await memory.tags("ann")] == [("cup", 1)]

    async def test_tags_count_what_a_list_of_them_shows(self, memory: AsyncMemory) -> None:
        """`tags` counts the memories of each tag, those of most first, equal ones in the order of their names.

        If this fails, check that a memory counts once for each of its tags.
        """
        for number, tags in enumerate((["b", "a"], ["b"], ["b", "ä"], ["B"], None, ["a%"])):
            await self.remember(memory, "ann", f"tea {number}", tags=tags)
        await self.remember(memory, "bob", "tea", tags=["b", "z"])
        found = await memory.tags("ann")
        assert [(info.tag, info.count) for info in found] == [("b", 3), ("B", 1), ("a", 1), ("a%", 1), ("ä", 1)]
        for info in found:
            assert len(await self.listed(memory, "ann", tag=info.tag)) == info.count

    @needs("scopes", "temporal", "supersession")
    async def test_tags_of_hidden_memories_do_not_count(self, memory: AsyncMemory) -> None:
        """Only current memories count for `tags`, and with `scope=` only those of the scope, or of it and below.

        If this fails, check that `tags` judges validity, supersession and scope as `list` does.
        """
        old = await self.remember(memory, "ann", "tea", scope="home", tags=["old", "drink"])
        await self.remember(memory, "ann", "milk", scope="home", tags=["expired"], valid_to=days(-1))
        await self.remember(memory, "ann", "mint tea", scope="home/a", tags=["drink"], supersedes=[old.id])
        await self.remember(memory, "ann", "bread", scope="home2", tags=["food"])
        assert [(info.tag, info.count) for info in await memory.tags("ann")] == [("drink", 1), ("food", 1)]
        assert [info.tag for info in await memory.tags("ann", scope="home/*")] == ["drink"]
        assert list(await memory.tags("ann", scope="home")) == []

    async def _all_users(self, memory: AsyncMemory, limit: int, prefix: str | None = None) -> list[UserInfo]:
        page = await memory.users(prefix=prefix, limit=limit)
        found = list(page.items)
        while page.next_cursor is not None:
            assert len(page) == limit
            page = await memory.users(prefix=prefix, limit=limit, cursor=page.next_cursor)
            found += page.items
        return found

    @needs("users")
    async def test_pages_of_users_name_each_once_with_counts(self, memory: AsyncMemory) -> None:
        """The pages of `users` together name each user with a memory once, whatever their size, by case, by prefix.

        If this fails, check that the cursor is the place of the last user, and that no folding joins two.
        """
        users = ["ann", "Ann", "ann2", "an%", "an_", "änn", "bob"]
        for number, user in enumerate(users):
            for content in range(1 + number % 2):
                await self.remember(memory, user, f"tea {content}")
        whole = {info.user_id: info for info in await self._all_users(memory, 100)}
        assert sorted(whole) == sorted(users)
        for number, user in enumerate(users):
            info, own = whole[user], await self.listed(memory, user)
            assert (info.current, info.superseded, info.expired) == (1 + number % 2, 0, 0)
            assert info.last_change == last_change(own)
        for limit in (1, 3, len(users)):
            assert [info.user_id for info in await self._all_users(memory, limit)] == list(whole)
        for prefix, expected in (("ann", {"ann", "ann2"}), ("an%", {"an%"}), ("an", {"ann", "ann2", "an%", "an_"})):
            assert {info.user_id for info in await self._all_users(memory, 2, prefix)} == expected
        assert await self._all_users(memory, 2, "nobody") == []

    @needs("users", "erasure")
    async def test_user_without_memories_any_more_is_not_named(self, memory: AsyncMemory) -> None:
        """A user whose last memory was erased is on no page of `users`.

        If this fails, check that users are those of memories, not of an audit log or of a table of names.
        """
        await self.remember(memory, "ann", "tea")
        await self.remember(memory, "bob", "tea")
        await memory.delete_all("ann")
        assert [info.user_id for info in await self._all_users(memory, 10)] == ["bob"]

    @needs("users")
    async def test_cursor_of_other_users_is_refused(self, memory: AsyncMemory) -> None:
        """A cursor goes on with the same prefix only.

        If this fails, check that the cursor carries what it was made for.
        """
        for user in ("ann", "ann2", "bob"):
            await self.remember(memory, user, "tea")
        cursor = (await memory.users(limit=1)).next_cursor
        for wrong in (cursor, "junk", f"{cursor}x"):
            with pytest.raises(InvalidRequestError, match="malformed cursor"):
                await memory.users(prefix="ann", limit=1, cursor=wrong)
