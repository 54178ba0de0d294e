"""The contract says exactly what the server does: the same routes, methods, parameters and statuses."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from jsonschema import Draft202012Validator
from scripts.contract import SHIPPED, SOURCE, shipped_text
from starlette.routing import Route

from openmem import AsyncMemory, OMPError
from openmem._protocol.query_string import NAMES
from openmem._protocol.routes import OPERATIONS as OPERATION_PATHS
from openmem._protocol.routes import ROUTES, template_of
from openmem.server import create_app
from openmem.server.routes import by_key as routes_by_key
from openmem.server.routes import memories as routes_memories
from openmem.server.routes import search as routes_reading
from openmem.server.routes import transfer as routes_transfer
from openmem.server.routes.openapi import contract, contract_text
from openmem.server.routes.request import RequestContext
from openmem.server.routes.routing import HANDLERS
from tests.server.contract_check import the_contract

METHODS = {"get", "post", "patch", "delete", "put"}

CONTRACT = the_contract()
OPERATIONS: list[tuple[str, str, dict[str, Any]]] = [
    (path, method, operation)
    for path, methods in CONTRACT.paths.items()
    for method, operation in methods.items()
    if method in METHODS
]
SERVED = [found for found in OPERATIONS if found[0] not in OPERATION_PATHS]


def each(found: list[tuple[str, str, dict[str, Any]]]) -> pytest.MarkDecorator:
    """Run a test for each of these operations."""
    return pytest.mark.parametrize(("path", "method", "operation"), found, ids=[o["operationId"] for _, _, o in found])


def kinds_of(error: type[OMPError]) -> set[type[OMPError]]:
    """Return a class of errors that the server sends, and those below it."""
    return {error}.union(*(kinds_of(kind) for kind in error.__subclasses__()))


def test_shipped_document_is_the_one_written_by_hand() -> None:
    assert SHIPPED.read_text(encoding="utf-8") == shipped_text(SOURCE.read_text(encoding="utf-8"))
    assert contract() == yaml.safe_load(SOURCE.read_text(encoding="utf-8"))


def test_served_document_is_the_shipped_one(open_server: httpx.Client) -> None:
    reply = open_server.get("/openapi.json")
    assert reply.content == contract_text()
    assert open_server.get("/docs").status_code == 404


def test_application_and_contract_have_the_same_routes(tmp_path: Path) -> None:
    app = create_app(AsyncMemory(url=f"sqlite:///{tmp_path / 'a.db'}", embedder="none"))
    served = {route.path for route in app.routes if isinstance(route, Route)}
    assert served == set(CONTRACT.paths) - OPERATION_PATHS | {"/"}  # a page for people is no part of the contract
    table = {(path, method.lower()) for path, verbs in ROUTES.items() for method in verbs}
    assert table == {(path, method) for path, method, _ in SERVED}
    assert set(CONTRACT.paths) >= OPERATION_PATHS


def test_every_route_has_one_handler_and_a_label() -> None:
    named = {f"{method} {path}" for path, methods in ROUTES.items() for method in methods}
    assert named == set(HANDLERS)
    for path in CONTRACT.paths:
        address = path.replace("{id}", "a%2Fb").replace("{key}", "a%2Fb")
        assert template_of(address, address.encode()) == path


def test_no_name_of_the_contract_stands_there_twice() -> None:
    """The later one of two would count, for what means the earlier one, too."""
    twice: list[str] = []

    def names_of(node: yaml.Node | None) -> None:
        if isinstance(node, yaml.MappingNode):
            names = Counter(key.value for key, _ in node.value)
            twice.extend(name for name, count in names.items() if count > 1)
        for part in node.value if isinstance(node, yaml.CollectionNode) else ():
            for one in part if isinstance(part, tuple) else (part,):
                names_of(one)

    names_of(yaml.compose(SOURCE.read_text(encoding="utf-8"), Loader=yaml.SafeLoader))
    assert twice == []


def test_no_two_operations_share_an_id() -> None:
    ids = [operation["operationId"] for _, _, operation in OPERATIONS]
    assert len(ids) == len(set(ids))


@each(SERVED)
def test_parameters_are_those_the_handler_reads(path: str, method: str, operation: dict[str, Any]) -> None:
    parameters = [CONTRACT.resolve(parameter) for parameter in operation["parameters"]]
    named = {(parameter["in"], parameter["name"].lower()) for parameter in parameters}
    handler = HANDLERS[f"{method.upper()} {path}"]
    source = inspect.getsource(handler)
    read = {("query", name) for name in re.findall(r"query\.\w+\(\"(\w+)\"", source)}
    read |= {("header", name) for name in re.findall(r"header\(\"([\w-]+)\"\)", source)}
    if "request.owner(" in source:
        read |= {("header", "x-user-id"), ("query", "user_id")}
    for name in ("id", "key"):
        if f"request.{name}()" in source:
            read.add(("path", name))
    if "replies.once" in source:
        read.add(("header", "idempotency-key"))
    read.discard(("header", "if-match") if method == "delete" else ("", ""))
    # OpenAPI has no parameters of these names: the media types of replies and bodies say it.
    read -= {("header", "accept"), ("header", "content-type"), ("header", "content-encoding")}
    everywhere = {("header", "x-request-id"), ("header", "x-omp-app"), ("header", "x-omp-timeout")}
    assert named - everywhere == read


def test_names_of_parameters_are_those_of_the_contract() -> None:
    parameters = [CONTRACT.resolve(one) for _, _, operation in SERVED for one in operation["parameters"]]
    assert {one["name"] for one in parameters if one["in"] == "query"} == {*NAMES}


def test_no_parameter_is_read_where_the_contract_test_does_not_look() -> None:
    shared = inspect.getsource(RequestContext)
    assert set(re.findall(r"query\.\w+\(\"(\w+)\"", shared)) == {"user_id"}
    for module in (routes_memories, routes_by_key, routes_reading, routes_transfer):
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if name.startswith("_") and function.__module__ == module.__name__:
                assert not re.search(r"query\.|header\(", inspect.getsource(function)), name


@each(SERVED)
def test_body_is_described_where_one_is_read(path: str, method: str, operation: dict[str, Any]) -> None:
    kinds = {"json": {"application/json"}, "lines": {"application/x-ndjson"}, "none": set()}
    described = set(operation.get("requestBody", {}).get("content", {}))
    assert described == kinds[ROUTES[path][method.upper()].body]


@each(SERVED)
def test_keys_are_asked_for_where_the_contract_says_so(path: str, method: str, operation: dict[str, Any]) -> None:
    verb = ROUTES[path][method.upper()]
    assert verb.needs_key == (operation.get("security") != [])
    assert ("401" in operation["responses"]) == verb.needs_key


@each(OPERATIONS)
def test_every_failure_is_an_envelope(path: str, method: str, operation: dict[str, Any]) -> None:
    for status, reply in operation["responses"].items():
        declared = CONTRACT.resolve(reply)
        assert "X-Request-Id" in declared["headers"]
        if int(status) >= 400:
            assert declared["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Error"}


def test_errors_of_the_contract_are_those_the_server_has() -> None:
    sent = [
        kind
        for kind in kinds_of(OMPError)
        if kind.__module__.startswith(("openmem.errors", "openmem._protocol.refusals"))
    ]
    abstract = {"OMPError", "RefusedError"}
    mine = [kind for kind in sent if kind.__name__ not in abstract]
    error = CONTRACT.document["components"]["schemas"]["Error"]["properties"]["error"]["properties"]
    assert {kind.code for kind in mine} == set(error["code"]["enum"])
    assert {kind.type for kind in mine} == set(error["type"]["enum"])
    described = {int(status) for _, _, operation in OPERATIONS for status in operation["responses"]}
    assert {kind.http_status for kind in mine} == {status for status in described if status >= 400}


@pytest.mark.parametrize("name", sorted(CONTRACT.document["components"]["schemas"]))
def test_schema_is_one_of_json_schema(name: str) -> None:
    Draft202012Validator.check_schema(CONTRACT.document["components"]["schemas"][name])


@pytest.mark.parametrize("kind", ["schemas", "responses", "parameters", "headers"])
def test_every_description_is_referred_to(kind: str) -> None:
    text = contract_text().decode()
    unused = [name for name in CONTRACT.document["components"][kind] if f'"#/components/{kind}/{name}"' not in text]
    assert unused == []
