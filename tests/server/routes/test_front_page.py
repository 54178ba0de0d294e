"""The pages for people, at `/` and `/docs`: they load nothing from elsewhere and show nothing that needs a key."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx
import pytest

from openmem.server.routes import reference
from tests.server.running import RouteOptions, running_with_store

_LINK = re.compile(r"""(?:src|href)="([^"]*)\"""")
_SECRETS = ("memories.db", "server.db", "sqlite", "ann")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A server that answers no request without a key."""
    folder: Path = tmp_path_factory.mktemp("pages")
    options = RouteOptions(docs=True, open_without_keys=False)
    memories, store = f"sqlite:///{folder}/memories.db", f"sqlite:///{folder}/server.db"
    with running_with_store(memories, store, options=options) as place:
        assert httpx.get(place.client.base_url.join("/memories?user_id=ann")).status_code == 401
        with httpx.Client(base_url=place.client.base_url) as stranger:
            yield stranger


def policy_of(reply: httpx.Response) -> dict[str, list[str]]:
    parts = (part.split() for part in reply.headers["content-security-policy"].split(";"))
    return {name: sources for name, *sources in parts}


def test_front_page_says_what_this_is_and_where_to_go(server: httpx.Client) -> None:
    reply = server.get("/")
    assert (reply.status_code, reply.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert f"curl {str(server.base_url).rstrip('/')}/capabilities" in reply.text
    for link in ("docs", "openapi.json", "capabilities"):
        assert server.get(link).status_code == 200, link
    assert {"docs", "openapi.json", "health/ready", "health/live", "version"} <= {*_LINK.findall(reply.text)}
    assert server.head("/").status_code == 200


def test_front_page_runs_no_script_and_may_load_nothing(server: httpx.Client) -> None:
    reply = server.get("/")
    assert "<script" not in reply.text
    policy = policy_of(reply)
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == ["'none'"]
    assert "script-src" not in policy
    style = re.search("<style>(.*?)</style>", reply.text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy["style-src"] == [f"'sha256-{digest}'"]


@pytest.mark.parametrize("host", ['a"><script>', "<b>", "x&y=1"])
def test_host_header_is_text_on_the_page(server: httpx.Client, host: str) -> None:
    text = server.get("/", headers={"Host": host}).text
    assert "<script" not in text
    assert "<b>" not in text


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_pages_show_nothing_that_needs_a_key(server: httpx.Client, path: str) -> None:
    text = server.get(path).text
    assert not [word for word in _SECRETS if re.search(rf"\b{re.escape(word)}\b", text)]


def test_reference_loads_everything_from_this_server(server: httpx.Client) -> None:
    page = server.get("/docs")
    sources = {source for sources in policy_of(page).values() for source in sources}
    assert not [source for source in sources if "http" in source or source == "*"]
    assert policy_of(page)["script-src"] == ["'self'"]
    links = [urljoin(str(page.url), link) for link in _LINK.findall(page.text)]
    assert len(links) == 3
    for link in links:
        assert urlsplit(link).netloc == urlsplit(str(page.url)).netloc
        reply = server.get(link)
        assert reply.status_code == 200
        assert reply.headers["content-type"].split(";")[0] in ("text/javascript", "text/css")
    assert "validatorUrl: null" in server.get("/docs/start.js").text


def test_files_of_the_reference_are_those_of_the_package(server: httpx.Client) -> None:
    shipped = (files("openapi_ui_bundles") / "swagger_ui" / "vendor" / "swagger-ui-bundle.js").read_bytes()
    assert server.get("/docs/swagger-ui-bundle.js").content == shipped
    root = Path(reference.__file__).resolve().parents[3]
    assert not list((root / "src").rglob("swagger*")), "its files are not copied into the project"


@pytest.mark.parametrize("name", ["index.html", "..%2f__init__.py", "nothing.js", "favicon-32x32.png"])
def test_no_other_file_is_served(server: httpx.Client, name: str) -> None:
    assert server.get(f"/docs/{name}").status_code == 404


async def test_reference_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "PACKAGE", "no_such_package")
    (only,) = reference.reference_routes()
    reply = await only.endpoint(None)
    assert b"pip install 'openmem-sdk[server]'" in reply.body
