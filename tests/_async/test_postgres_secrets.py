"""The password in the address is shown nowhere: not by errors, not in logs, not by the objects that hold it."""

from __future__ import annotations

import logging

import pytest

from openmem import AsyncMemory, OMPError
from openmem._config.settings import resolve_settings
from tests.promised_errors import SECRET, shown


@pytest.mark.parametrize(
    "address",
    [
        f"postgresql://ann:{SECRET}@127.0.0.1:port/d",
        f"postgresql://ann:{SECRET}@127.0.0.1:99999/d",
        f"postgresql://ann:{SECRET}@[::1/d",
        f"postgresql://ann:x@{SECRET}@127.0.0.1:1/d",
        f"postgresql://ann:{SECRET}%zz@127.0.0.1:1/d",
        f"postgresql://ann:{SECRET}@127.0.0.1:1/d?sslmode=nonsense",
        f"postgresql://ann:{SECRET}@127.0.0.1:1/d?sslmode=verify-full&sslrootcert=/nowhere/ca.pem",
        f"postgresql://ann@127.0.0.1:1/d?password={SECRET}",
        f"postgresql://ann:{SECRET}@127.0.0.1:1/d?connect_timeout=soon",
        f"postgresql://ann:{SECRET}@nowhere.invalid/d?target_session_attrs=nonsense",
        f"postgres:{SECRET}@127.0.0.1/d",
    ],
)
async def test_address_that_leads_nowhere_shows_no_password(address: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(OMPError) as caught:
        async with AsyncMemory("postgres", url=address, embedder="none", timeout=5.0):
            pass
    assert SECRET not in shown(caught.value)
    assert SECRET not in caplog.text


async def test_server_that_refuses_shows_no_password(postgres_url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    address = postgres_url.replace("//postgres@", f"//nobody:{SECRET}@")
    with pytest.raises(OMPError) as caught:
        async with AsyncMemory("postgres", url=address, embedder="none", timeout=5.0):
            pass
    assert SECRET not in shown(caught.value)
    assert SECRET not in caplog.text


def test_settings_and_memory_show_no_password() -> None:
    address = f"postgresql://ann:{SECRET}@127.0.0.1:1/d"
    assert SECRET not in repr(AsyncMemory("postgres", url=address, embedder="none"))
    assert SECRET not in repr(resolve_settings(None, address, None, None, None, {}, {}))
