"""The way of a request through redirects: to the same server only, with the same method, and not in a circle."""

from __future__ import annotations

import pytest

from openmem._protocol.http_errors import Endpoint
from openmem._protocol.http_messages import MAX_REDIRECTS, HttpRequest, Route, json_body, origin, query_of
from openmem.errors import ProviderError

ENDPOINT = Endpoint("https://omp.test/v1/", "omp.test", "remote")
GET = HttpRequest("GET", "/memories", {"user_id": "é", "tags": ["x", "y"]})


def route(method: str = "GET") -> Route:
    return Route(ENDPOINT, HttpRequest(method, "/memories"), {})


def refusal(one: Route, status: int, location: str | None) -> str:
    with pytest.raises(ProviderError) as caught:
        one.follow(status, location)
    assert caught.value.provider == "remote"
    return caught.value.message.removeprefix("omp.test ").removesuffix("; check the base_url")


def test_request_goes_below_the_address_of_the_server() -> None:
    one = Route(ENDPOINT, GET, {"X-A": "1"})
    assert one.url == "https://omp.test/v1/memories?user_id=%C3%A9&tags=x&tags=y"
    assert one.request is GET
    assert route().url == "https://omp.test/v1/memories"


def test_headers_of_the_request_win_over_those_of_the_client() -> None:
    request = HttpRequest("GET", "/a", headers={"X-A": "2", "X-B": b"3"})
    assert Route(ENDPOINT, request, {"X-A": "1", "X-C": "4"}).headers == {"X-A": "2", "X-B": b"3", "X-C": "4"}


def test_anonymous_request_takes_no_credentials_along() -> None:
    headers = {"Authorization": "Bearer k", "X-Api-Key": "k", "Cookie": "c", "Idempotency-Key": "i", "Accept": "a"}
    open_one = Route(ENDPOINT, HttpRequest("GET", "/a", anonymous=True), headers)
    assert open_one.headers == {"Idempotency-Key": "i", "Accept": "a"}
    assert Route(ENDPOINT, HttpRequest("GET", "/a"), headers).headers == headers


@pytest.mark.parametrize("status", [200, 204, 300, 304, 305, 400])
def test_reply_that_is_no_redirect_leaves_the_way_as_it_is(status: int) -> None:
    one = route()
    assert not one.follow(status, "https://omp.test/other")
    assert one.url == "https://omp.test/v1/memories"


@pytest.mark.parametrize(
    ("status", "method"), [(301, "GET"), (302, "HEAD"), (303, "GET"), (307, "POST"), (308, "PATCH")]
)
def test_redirect_is_followed_that_keeps_the_method(status: int, method: str) -> None:
    one = route(method)
    assert one.follow(status, "/v2/memories#there")
    assert one.url == "https://omp.test/v2/memories"
    assert one.follow(status, "items")
    assert one.url == "https://omp.test/v2/items"
    assert one.follow(status, "https://omp.test:443/v3")
    assert one.url == "https://omp.test:443/v3"


@pytest.mark.parametrize("status", [301, 302, 303])
def test_redirect_that_would_change_the_method_is_refused(status: int) -> None:
    assert refusal(route("POST"), status, "/other") == (
        f"answered {status}, a redirect that a POST request may not follow"
    )


@pytest.mark.parametrize("location", ["/v1/memories", "https://omp.test/v1/memories#x"])
def test_redirect_to_itself_is_a_loop(location: str) -> None:
    assert refusal(route(), 302, location) == "answered with a redirect loop"


def test_redirect_back_and_one_too_many_are_loops() -> None:
    one = route()
    assert one.follow(302, "/a")
    assert refusal(one, 302, "/v1/memories") == "answered with a redirect loop"
    assert one.follow(302, "/b")
    assert refusal(one, 302, "/a") == "answered with a redirect loop"
    for number in range(MAX_REDIRECTS - 2):
        assert one.follow(302, f"/{number}")
    assert refusal(one, 302, "/last") == "answered with a redirect loop"


@pytest.mark.parametrize("location", [None, "", "ftp://omp.test/", "mailto:a@b", "https://[::1", "//:80"])
def test_redirect_without_an_address_is_refused(location: str | None) -> None:
    assert refusal(route(), 302, location) == "answered 302 without an address to go to"


@pytest.mark.parametrize("location", ["https://u:p@omp.test/", "/a b", "/a\x7f", "/" + "a" * 16_384])
def test_redirect_to_an_address_that_cannot_be_used_is_refused(location: str) -> None:
    assert refusal(route(), 302, location) == "answered 302 with an address that cannot be used"


def test_longest_address_is_followed() -> None:
    rest = 16_384 - len("https://omp.test/")
    assert route().follow(302, "/" + "a" * rest)


@pytest.mark.parametrize(
    "location", ["http://omp.test/", "https://omp.test:444/", "https://other.test/", "//other.test/"]
)
def test_redirect_to_another_server_is_refused(location: str) -> None:
    assert refusal(route(), 302, location) == "answered with a redirect to another server, which is not followed"


def test_origin_is_scheme_host_and_port() -> None:
    assert origin("https://A.test/x") == origin("https://a.test:443") == ("https", "a.test", 443)
    assert origin("http://a.test") == ("http", "a.test", 80)
    assert origin("ftp://a.test") == ("ftp", "a.test", None)


def test_json_is_in_utf_8_without_blanks_and_numbers_are_finite() -> None:
    assert json_body({"é": [1, 1.5, None]}) == '{"é":[1,1.5,null]}'.encode()
    with pytest.raises(ValueError, match="JSON compliant"):
        json_body(float("nan"))
    assert (query_of(None), query_of({}), query_of({"a": ["1", "2"], "b": "c d"})) == ("", "", "a=1&a=2&b=c+d")
