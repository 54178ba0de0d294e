"""Holds every reply of a server against the contract."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import httpx
from jsonschema import Draft202012Validator, FormatChecker

from openmem.server.routes.openapi import contract

REQUEST_ID = re.compile(r"[A-Za-z0-9._\-]{1,64}")


class Contract:
    """The document, with its references followed."""

    def __init__(self) -> None:
        self.document = contract()
        self.paths: dict[str, dict[str, Any]] = self.document["paths"]
        self._patterns = [
            (re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path))), path)
            for path in sorted(self.paths, key=lambda path: path.count("{"))
        ]

    def resolve(self, part: Any) -> Any:
        """Return what a part of the document stands for."""
        while isinstance(part, dict) and "$ref" in part:
            found: Any = self.document
            for name in part["$ref"].removeprefix("#/").split("/"):
                found = found[name]
            part = found
        return part

    def operation(self, method: str, path: str) -> dict[str, Any] | None:
        """Return the operation that a request goes to."""
        for pattern, template in self._patterns:
            if pattern.fullmatch(path):
                found: dict[str, Any] | None = self.paths[template].get("get" if method == "HEAD" else method.lower())
                if found is not None:
                    return found
        return None

    def errors(self, schema: dict[str, Any], value: Any) -> list[str]:
        """Return what is wrong with a value."""
        whole = {**schema, "components": self.document["components"]}
        validator = Draft202012Validator(whole, format_checker=FormatChecker())
        return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]

    def check(self, reply: httpx.Response) -> None:
        """Fail if a reply is not one that the contract allows."""
        request = reply.request
        assert REQUEST_ID.fullmatch(reply.headers["x-request-id"])
        operation = self.operation(request.method, request.url.raw_path.decode().partition("?")[0])
        if operation is None:
            assert reply.status_code in (404, 405), reply.text
            declared = self.resolve({"$ref": "#/components/responses/NotFound"})
        else:
            assert str(reply.status_code) in operation["responses"], f"{operation['operationId']}: {reply.status_code}"
            declared = self.resolve(operation["responses"][str(reply.status_code)])
        self._check_body(reply, declared)

    def _check_body(self, reply: httpx.Response, declared: dict[str, Any]) -> None:
        content = declared.get("content")
        if content is None or reply.request.method == "HEAD":
            assert not reply.content
            return
        media_type = reply.headers["content-type"].partition(";")[0]
        assert media_type in content
        if media_type == "application/json":
            assert not self.errors(content[media_type]["schema"], reply.json())
        if reply.status_code >= 400:
            assert reply.json()["error"]["request_id"] == reply.headers["x-request-id"]


@cache
def the_contract() -> Contract:
    """Return the contract, read once."""
    return Contract()


def check_reply(reply: httpx.Response) -> None:
    """Check a reply as soon as it is there; for the event hooks of a client. A stream is left to its reader."""
    if "transfer-encoding" in reply.headers:
        return
    reply.read()
    the_contract().check(reply)
