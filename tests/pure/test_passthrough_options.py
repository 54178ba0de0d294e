"""The options of the provider on a remote OMP server are checked before anything is asked."""

from __future__ import annotations

from typing import Any

import pytest

from openmem._config.settings import Settings
from openmem._protocol.passthrough_options import check, given_capabilities, headers_of
from openmem.errors import InvalidRequestError
from openmem.types import Capabilities

SAID = {"omp_version": "0.1", "provider": "acme", "verbs": ["add"], "features": {}}


def settings(**fields: Any) -> Settings:
    return Settings("passthrough", **{"base_url": "https://omp.test", **fields})


def test_address_is_needed_and_must_be_one() -> None:
    check(settings())
    with pytest.raises(InvalidRequestError) as caught:
        check(settings(base_url=None))
    assert caught.value.message == "provider 'passthrough' requires base_url=..., the address of an OMP server"
    assert caught.value.provider == "passthrough"
    with pytest.raises(InvalidRequestError, match="base_url must be an address"):
        check(settings(base_url="ftp://omp.test"))


def test_key_goes_into_a_header_and_must_fit_there() -> None:
    assert headers_of(settings(remote_key="secret")) == {"Authorization": "Bearer secret"}
    assert headers_of(settings()) == {}
    check(settings(remote_key="secret"))
    with pytest.raises(InvalidRequestError, match="characters that cannot be sent") as caught:
        check(settings(remote_key="sec\nret"))
    assert "sec" not in caught.value.message.replace("secret", "")


def test_capabilities_may_be_given_as_an_object_or_a_mapping() -> None:
    said = Capabilities.model_validate(SAID)
    assert given_capabilities(settings(options={"capabilities": SAID})) == said
    assert given_capabilities(settings(options={"capabilities": said})) == said
    assert given_capabilities(settings()) is None
    with pytest.raises(InvalidRequestError) as caught:
        check(settings(options={"capabilities": {"omp_version": 7}}))
    assert caught.value.message == "capabilities must be a Capabilities object, or a mapping of its fields"
