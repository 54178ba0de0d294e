"""The route of the feed of changes."""

from __future__ import annotations

from openmem.server.routes.request import RequestContext
from openmem.server.routes.responses import Reply, changes_reply


async def get_changes(request: RequestContext) -> Reply:
    """Answer GET /changes: a page."""
    query = request.query
    page = await request.memory().changes(
        request.user_or_any(query.text("user_id")), cursor=query.text("cursor"), limit=query.whole("limit", 100)
    )
    return changes_reply(page)
