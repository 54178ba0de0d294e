from __future__ import annotations

from openmem._config.extras import install_extra, pip_install, requirement


def test_requirement_names_the_distribution_and_its_extras() -> None:
    assert requirement() == "openmem-sdk"
    assert requirement("postgres", "server") == "openmem-sdk[postgres,server]"


def test_command_is_quoted_where_a_shell_would_read_more_into_it() -> None:
    assert pip_install("mem0ai", "letta-client", "a>=1") == "pip install mem0ai letta-client 'a>=1'"
    assert install_extra("local") == "pip install 'openmem-sdk[local]'"
    assert install_extra() == "pip install openmem-sdk"
