"""Checks requests and replies against the vendor's own SDK.

Its methods say what may be sent, its models what comes back. Both are generated from the vendor's contract, and are
installed wherever the tests of the provider can run.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, Protocol

from pydantic import TypeAdapter, ValidationError

# What every method of such an SDK takes besides what it sends.
_FOR_THE_SDK: Final = {
    *("self", "request_options", "extra_headers", "extra_query", "extra_body", "timeout", "max_retries"),
    *("idempotency_key", "kwargs"),
}

_PART: Final = r"\{(\w+)\}"


class Operation(NamedTuple):
    """A method of the SDK, and the model of its reply; `None` for one without a body."""

    method: Callable[..., Any]
    reply: Any = None


class Checks(Protocol):
    """Finds out what is wrong with requests and replies."""

    def faults_of_request(self, method: str, path: str, query: dict[str, str], body: Any) -> list[str]:
        """Return what is wrong with a request."""

    def faults_of_reply(self, method: str, path: str, status: int, body: Any) -> list[str]:
        """Return what is wrong with a reply."""


class Every:
    """Several checks as one; those that are `None` are left out."""

    def __init__(self, *checks: Checks | None) -> None:
        self._checks = [check for check in checks if check is not None]

    def faults_of_request(self, method: str, path: str, query: dict[str, str], body: Any) -> list[str]:
        """Return what is wrong with a request."""
        return [fault for check in self._checks for fault in check.faults_of_request(method, path, query, body)]

    def faults_of_reply(self, method: str, path: str, status: int, body: Any) -> list[str]:
        """Return what is wrong with a reply."""
        return [fault for check in self._checks for fault in check.faults_of_reply(method, path, status, body)]


class SdkMethods:
    """The part of an API that the tests use.

    Args:
        operations: By method and path; `{…}` stands for any one part of the path.
        spelled: Turns the name of a parameter into that of the member that is sent.
    """

    def __init__(
        self, operations: Mapping[tuple[str, str], Operation], spelled: Callable[[str], str] = lambda name: name
    ) -> None:
        self._spelled = spelled
        self._operations = [
            (verb, re.compile(re.sub(_PART, "[^/]+", path) + "/?"), set(re.findall(_PART, path)), operation)
            for (verb, path), operation in operations.items()
        ]

    def faults_of_request(self, method: str, path: str, query: Mapping[str, str], body: Any) -> list[str]:
        """Return what is wrong with a request."""
        found = self._find(method, path)
        if found is None:
            return [f"the SDK has no method for {method} {path}"]
        in_path, operation = found
        if body is not None and not isinstance(body, dict):
            return ["the body is no object"]
        known = {
            self._spelled(name): parameter.default is inspect.Parameter.empty
            for name, parameter in _signature(operation.method).parameters.items()
            if name not in _FOR_THE_SDK | in_path
        }
        given = {*query, *(body or {})}
        faults = [f"the SDK sends no {name}" for name in sorted(given - known.keys())]
        return faults + [f"{name} is missing" for name, required in known.items() if required and name not in given]

    def faults_of_reply(self, method: str, path: str, status: int, body: Any) -> list[str]:
        """Return in what the body of a success is not the SDK's model."""
        found = self._find(method, path)
        if found is None:
            return [f"the SDK has no method for {method} {path}"]
        model = found[1].reply
        if not 200 <= status < 300 or model is None:
            return []
        try:
            _adapter(model).validate_python(body)
        except ValidationError as error:
            return [f"reply {status}: {each['loc']}: {each['msg']}" for each in error.errors()]
        return []

    def _find(self, method: str, path: str) -> tuple[set[str], Operation] | None:
        for verb, pattern, in_path, operation in self._operations:
            if verb == method and pattern.fullmatch(path):
                return in_path, operation
        return None


@functools.cache
def _signature(method: Callable[..., Any]) -> inspect.Signature:
    return inspect.signature(method)


@functools.cache
def _adapter(model: Any) -> TypeAdapter[Any]:
    return TypeAdapter(model)


def in_camel_case(name: str) -> str:
    """Return `task_type` as `taskType`."""
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
