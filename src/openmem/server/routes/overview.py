"""The routes that say what there is: scopes, tags and users, with counts."""

from __future__ import annotations

from openmem.server.routes.request import RequestContext
from openmem.server.routes.responses import Reply, scopes_reply, tags_reply, users_reply
from openmem.server.services.audit import Touched


async def get_scopes(request: RequestContext) -> Reply:
    """Answer GET /scopes."""
    query = request.query
    user_id, prefix = request.user(query.text("user_id")), query.text("prefix")
    depth = None if query.text("depth") is None else query.whole("depth", 1)
    found = await request.memory().scopes(user_id, prefix=prefix, depth=depth)
    await request.service.audit.enter(request, "list", Touched(user_id, None, prefix))
    return scopes_reply(found)


async def get_tags(request: RequestContext) -> Reply:
    """Answer GET /tags."""
    query = request.query
    user_id, scope = request.user(query.text("user_id")), query.text("scope")
    found = await request.memory().tags(user_id, scope=scope)
    await request.service.audit.enter(request, "list", Touched(user_id, None, scope))
    return tags_reply(found)


async def get_users(request: RequestContext) -> Reply:
    """Answer GET /users. It looks at no memory of a user, so it stands in no audit log."""
    query = request.query
    page = await request.memory().users(
        prefix=query.text("prefix"), limit=query.whole("limit", 100), cursor=query.text("cursor")
    )
    return users_reply(page)
