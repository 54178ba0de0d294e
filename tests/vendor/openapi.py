"""Checks requests and replies against a vendor's OpenAPI file, which lies beside the repository and not in it."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator

FILES = Path(__file__).resolve().parents[3] / "shared" / "data" / "openapi"


class Contract:
    """One OpenAPI file.

    Args:
        document: What is in it.
        besides: Statuses that the service is known to send, though the file does not name them.
    """

    def __init__(self, document: dict[str, Any], besides: Collection[int] = ()) -> None:
        self._document, self._besides = document, besides
        self._components = _without_nullable(document.get("components", {}))
        self._validators: dict[int, Draft202012Validator] = {}
        self._paths = [
            (re.compile("^" + re.sub(r"\{[^}]+\}", "[^/]+", path) + "$"), path, item)
            for path, item in sorted(document["paths"].items(), key=lambda pair: pair[0].count("{"))
        ]

    @classmethod
    def find(cls, name: str, besides: Collection[int] = ()) -> Contract | None:
        """Return the contract of a file, or `None` where it does not lie beside the repository."""
        return _found(name, tuple(besides))

    @classmethod
    def load(cls, name: str) -> Contract:
        """Return the same; the test is skipped where there is none."""
        found = cls.find(name)
        if found is None:
            pytest.skip("the vendor's contract is not beside the repository")
        return found

    def faults_of_request(self, method: str, path: str, query: dict[str, str], body: Any) -> list[str]:
        """Return what is wrong with a request."""
        operation = self._operation(method, path)
        if operation is None:
            return [f"{method} {path} is not in the contract"]
        faults = []
        known = {each["name"]: each["schema"] for each in operation.get("parameters", []) if each["in"] == "query"}
        for name, value in query.items():
            if name not in known:
                faults.append(f"unknown parameter {name}")
            else:
                faults += self._faults(known[name], _as(known[name], value), f"parameter {name}")
        content = operation.get("requestBody", {}).get("content", {}).get("application/json")
        if content is None:
            return faults + ([] if body is None else ["a body where none belongs"])
        schema = content["schema"]
        if "$ref" in schema:
            schema = self._components["schemas"][schema["$ref"].rpartition("/")[2]]
        unknown = set(body or {}) - set(schema.get("properties", {}))
        return faults + [f"unknown field {name}" for name in sorted(unknown)] + self._faults(schema, body, "body")

    def faults_of_reply(self, method: str, path: str, status: int, body: Any) -> list[str]:
        """Return what is wrong with a reply; a status that the contract does not name for the request is wrong, too."""
        operation = self._operation(method, path)
        if operation is None:
            return [f"{method} {path} is not in the contract"]
        reply = operation["responses"].get(str(status))
        if reply is None:
            return [] if status in self._besides else [f"{method} {path} has no reply {status} in the contract"]
        content = reply.get("content", {}).get("application/json")
        return [] if content is None else self._faults(content["schema"], body, f"reply {status}")

    def _operation(self, method: str, path: str) -> dict[str, Any] | None:
        for pattern, _, item in self._paths:
            if pattern.match(path) and method.lower() in item:
                found: dict[str, Any] = item[method.lower()]
                return found
        return None

    def _faults(self, schema: dict[str, Any], value: Any, where: str) -> list[str]:
        checker = self._validators.get(id(schema))  # the document keeps its schemas, so their ids stay
        if checker is None:
            whole = {**_without_nullable(schema), "components": self._components}
            checker = self._validators[id(schema)] = Draft202012Validator(whole, validate_formats=True)
        if checker.is_valid(value):
            return []
        return [f"{where}: {error.instance_path}: {error.message[:200]}" for error in checker.iter_errors(value)]


@functools.cache
def _found(name: str, besides: tuple[int, ...]) -> Contract | None:
    """Return the contract of a file, with the validators that were made so far: to make one takes 10 ms."""
    path = FILES / name
    return Contract(json.loads(path.read_text(encoding="utf-8")), besides) if path.exists() else None


def _without_nullable(schema: Any) -> Any:
    """Return a schema of OpenAPI 3.0 as JSON Schema, which says `null` as a type."""
    if isinstance(schema, list):
        return [_without_nullable(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {name: _without_nullable(value) for name, value in schema.items() if name not in ("nullable", "example")}
    if schema.get("nullable") is True and isinstance(schema.get("type"), str):
        plain["type"] = [schema["type"], "null"]
    return plain


def _as(schema: dict[str, Any], text: str) -> Any:
    kinds = {schema.get("type"), *(each.get("type") for each in schema.get("anyOf", []))}
    if "integer" in kinds:
        return int(text) if text.lstrip("-").isdigit() else text
    if "boolean" in kinds:
        return {"true": True, "false": False}.get(text.lower(), text)
    return text
