"""The contract of the server: one OpenAPI document, written by hand, shipped with the package and served."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from openmem.server.routes.responses import Reply, json_reply

if TYPE_CHECKING:
    from openmem.server.routes.request import RequestContext

FILE: Final = "omp-0.1.json"


@cache
def contract_text() -> bytes:
    """Return the document as it is served."""
    return files("openmem.server").joinpath(FILE).read_bytes()


def contract() -> dict[str, Any]:
    """Return the document as an object of its own."""
    import json

    document: dict[str, Any] = json.loads(contract_text())
    return document


async def get_contract(request: RequestContext) -> Reply:
    """Answer GET /openapi.json."""
    return json_reply(contract_text())
