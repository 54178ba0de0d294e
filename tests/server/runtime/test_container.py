"""Dockerfile, .dockerignore and compose.yaml: what they say is done here without the engine that would read them."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from openmem._io.paths import user_data_dir
from openmem.server.runtime.settings import VARIABLES, ServerSettings, read_settings
from tests.server.process import environment, started

ROOT = Path(__file__).resolve().parents[3]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = (ROOT / "compose.yaml").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def instruction(name: str) -> str:
    """Return the arguments of the last instruction of a name, its lines joined."""
    joined = re.sub(r"\\\n\s*", " ", DOCKERFILE)
    return str(re.findall(rf"^{name} (.*)$", joined, re.MULTILINE)[-1])


def variables() -> dict[str, str]:
    """Return what the image puts into the environment, but for the path."""
    pairs = (word.split("=", 1) for word in shlex.split(instruction("ENV")))
    return {name: value for name, value in pairs if name != "PATH"}


def commands(text: str) -> list[list[str]]:
    """Return the commands in the comments of a file."""
    lines = re.findall(r"^#   (\S.*)$", text, re.MULTILINE)
    return [shlex.split(line) for line in lines]


def here(*command: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the image with the programs of this environment."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = environment(**{"PATH": path, **variables(), **more})
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


# What the build is given


def copied() -> list[str]:
    """Return the paths that the build takes from the folder of the Dockerfile."""
    lines = re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE)
    return [path for line in lines for path in line.split()]


def is_let_in(path: str) -> bool:
    """Return whether .dockerignore lets a path in: the last line that fits it, or a folder it is in, decides."""
    parts = path.split("/")
    heads = ["/".join(parts[: count + 1]) for count in range(len(parts))]
    let_in = True
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").split():
        pattern = line.removeprefix("!")
        names = parts if pattern.startswith("**/") else heads
        if any(fnmatch(name, pattern.removeprefix("**/")) for name in names):
            let_in = line.startswith("!")
    return let_in


def test_build_is_given_what_it_copies_and_nothing_else() -> None:
    assert [path for path in copied() if not (ROOT / path).exists()] == []
    assert {path.name for path in ROOT.iterdir() if is_let_in(path.name)} == set(copied())
    assert is_let_in("src/openmem/server/runtime/app.py")
    for path in ("src/openmem/__pycache__/types.cpython-313.pyc", "secrets/omp_url.txt", ".git/config"):
        assert not is_let_in(path)


def test_build_copies_what_makes_the_package() -> None:
    project, wheel = PROJECT["project"], PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = ["pyproject.toml", project["readme"], *project["license-files"], *wheel["packages"]]
    assert [path for path in needed if path.split("/")[0] not in copied()] == []


def test_extras_of_the_image_exist() -> None:
    extras = re.findall(r'"\.\[(\S+)\]"', DOCKERFILE)[0].split(",")
    assert set(extras) <= set(PROJECT["project"]["optional-dependencies"])
    assert {"server", "postgres", "cli"} <= set(extras)


# What the image says


def test_image_agrees_with_the_settings() -> None:
    own = {name: value for name, value in variables().items() if name.startswith("OMP_")}
    assert own.keys() <= set(VARIABLES.values())
    settings = read_settings({}, own)
    assert (settings.host, settings.port) == ("0.0.0.0", ServerSettings().port)
    assert instruction("EXPOSE") == str(settings.port)
    assert json.loads(instruction("CMD")) == ["omp-server"]
    assert "omp-server" in PROJECT["project"]["scripts"]


def test_data_is_where_the_volume_is_and_belongs_to_the_user_who_is_a_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", variables()["XDG_DATA_HOME"])
    folder = user_data_dir()
    assert instruction("VOLUME") == variables()["XDG_DATA_HOME"] == os.path.dirname(folder)
    assert f"{folder}/memories.db" in DOCKERFILE
    user, group = instruction("USER").split(":")
    assert f"groupadd --gid {group} omp && useradd --uid {user} --gid omp " in DOCKERFILE
    assert f"install -d -o omp -g omp -m 700 {instruction('VOLUME')}" in DOCKERFILE
    assert f"as user {user}," in COMPOSE


def test_health_check_says_whether_the_server_lives(tmp_path: Path) -> None:
    check = json.loads(instruction("HEALTHCHECK").partition(" CMD ")[2])
    with started("--url", str(tmp_path / "m.db")) as server:
        assert here(*check, OMP_PORT=str(server.port)).returncode == 0
    assert here(*check, OMP_PORT=str(server.port)).returncode == 1


def test_printed_command_makes_a_key_with_which_the_image_starts(tmp_path: Path) -> None:
    docker, run, *rest = next(line for line in commands(DOCKERFILE) if "create" in line)
    assert (docker, run, rest[:4]) == (
        "docker",
        "run",
        ["--rm", "-v", f"omp-data:{instruction('VOLUME')}", "omp-server"],
    )
    place = {**variables(), "XDG_DATA_HOME": str(tmp_path)}
    secret = here(*rest[4:], **place).stdout.strip()
    with started(cwd=None, **place) as server:
        assert server.first_lines == [f"omp-server: serving sqlite at http://0.0.0.0:{server.port}"]
        assert server.ask("GET", "/memories?user_id=ann", authorization=f"Bearer {secret}").status == 200


# What Compose is told


def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(COMPOSE)["services"]
    return found


def test_composition_agrees_with_the_code_and_the_image(tmp_path: Path) -> None:
    server = services()["server"]
    assert {name.removesuffix("_FILE") for name in server["environment"]} <= {*VARIABLES.values(), "OMP_URL"}
    secret = tmp_path / "url"
    secret.write_text("postgresql://omp:x@postgres:5432/omp\n")
    settings = read_settings({}, {**server["environment"], "OMP_URL_FILE": str(secret)})
    assert server["ports"] == [f"127.0.0.1:8080:{settings.port}"]
    assert settings.drain_seconds < int(server["stop_grace_period"].removesuffix("s"))
    assert server["environment"]["OMP_URL_FILE"] == "/run/secrets/" + server["secrets"][0]


def test_secrets_of_the_composition_are_the_files_that_it_says_to_write() -> None:
    files = [secret["file"] for secret in yaml.safe_load(COMPOSE)["secrets"].values()]
    written = [line[-1] for line in commands(COMPOSE) if line[0] == "echo"]
    assert sorted(files) == sorted(written)
    assert ["mkdir", "-m", "700", os.path.dirname(files[0])] in commands(COMPOSE)
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    assert {f"{os.path.dirname(file)}/" for file in files} <= set(ignored)
    address = next(line[1] for line in commands(COMPOSE) if line[-1] == "secrets/omp_url.txt")
    database = services()["postgres"]["environment"]
    assert address == f"postgresql://omp:a%20password@postgres:5432/{database['POSTGRES_DB']}"
    assert database["POSTGRES_USER"] == "omp"


def test_commands_of_the_composition_make_a_key_and_a_server_that_drains(tmp_path: Path, postgres_url: str) -> None:
    (tmp_path / "omp_url").write_text(f"{postgres_url}\n")
    told = {**variables(), **services()["server"]["environment"], "OMP_URL_FILE": str(tmp_path / "omp_url")}
    line = next(line for line in commands(COMPOSE) if "sh" in line)
    assert line[: line.index("sh")] == ["docker", "compose", "run", "--rm", "server"]
    made = here(*line[line.index("sh") :], **told)
    assert made.returncode == 0, made.stderr
    with started(cwd=None, **told) as server:
        reply = server.ask("GET", "/memories?user_id=ann", authorization=f"Bearer {made.stdout.strip()}")
        assert (reply.status, server.stop()) == (200, 0)


@pytest.mark.parametrize("name", ["server", "postgres"])
def test_every_service_names_only_secrets_and_volumes_that_there_are(name: str) -> None:
    whole, service = yaml.safe_load(COMPOSE), services()[name]
    assert set(service.get("secrets", ())) <= set(whole["secrets"])
    assert {volume.split(":")[0] for volume in service.get("volumes", ())} <= set(whole["volumes"])
    assert set(service.get("depends_on", ())) <= set(whole["services"])


# A cluster to try


CITUS = yaml.safe_load((ROOT / "compose.citus.yaml").read_text(encoding="utf-8"))


def test_cluster_has_a_coordinator_that_knows_its_two_workers() -> None:
    services = CITUS["services"]
    assert set(services) == {"coordinator", "worker1", "worker2", "join"}
    assert [name for name, service in services.items() if "ports" in service] == ["coordinator"]
    assert services["coordinator"]["ports"] == ["127.0.0.1:5432:5432"]
    script = services["join"]["command"][0].replace("$$", "$")
    assert re.findall(r"citus_add_node\('(\w+)', 5432\)", script) == ["worker1", "worker2"]
    for extension in ("citus", "vector"):
        assert f"create extension if not exists {extension}" in script
    assert set(services["join"]["depends_on"]) == {"coordinator", "worker1", "worker2"}
    checked = subprocess.run(["sh", "-n", "-c", script], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_commands_for_the_cluster_are_those_of_the_program() -> None:
    lines = commands((ROOT / "compose.citus.yaml").read_text(encoding="utf-8"))
    migrate = next(line for line in lines if line[0] == "omp")
    assert migrate[1:3] == ["migrate", "--distribute"]
