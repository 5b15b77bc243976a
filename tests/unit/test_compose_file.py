"""The containers' files, read by the real Compose and the real linter (no engine is needed)."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent
SERVERS = {"mongo": "mongo:8.0", "kafka": "apache/kafka:4.3.1", "postgres": "postgres:18"}
OURS = {"source": ["run"], "consumer": ["consume"], "migrate": ["migrate"], "topics": ["topics"]}


def compose(**environment: str) -> subprocess.CompletedProcess[str]:
    """What Compose makes of the file."""
    clean = {name: value for name, value in os.environ.items() if name != "POSTGRES_PASSWORD"}
    return subprocess.run(
        [PROGRAMS / "docker-compose", "-f", "compose/compose.yaml", "config", "--format", "json"],
        cwd=REPOSITORY,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    parsed = compose(POSTGRES_PASSWORD="throwaway")
    assert parsed.returncode == 0, parsed.stderr
    found: dict[str, dict[str, Any]] = json.loads(parsed.stdout)["services"]
    return found


def test_a_missing_password_is_asked_for() -> None:
    refused = compose()
    assert refused.returncode != 0
    assert "POSTGRES_PASSWORD" in refused.stderr


def test_the_servers_and_both_processes_are_there(services: dict[str, dict[str, Any]]) -> None:
    assert set(services) == {*SERVERS, *OURS}
    assert {name: services[name]["image"] for name in SERVERS} == SERVERS
    assert {name: services[name]["command"] for name in OURS} == OURS


def test_every_container_is_locked_down(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        if name in SERVERS:  # our image says it itself
            assert service["user"] not in ("root", "0"), name
        for port in service.get("ports", []):
            assert port["host_ip"] == "127.0.0.1", name


def test_what_goes_on_is_watched_and_starts_in_order(services: dict[str, dict[str, Any]]) -> None:
    for name in (*SERVERS, "source", "consumer"):
        assert services[name]["healthcheck"]["test"], name
    waits = {
        name: {on: each["condition"] for on, each in services[name]["depends_on"].items()}
        for name in OURS
    }
    healthy, done = "service_healthy", "service_completed_successfully"
    both = {"kafka": healthy, "migrate": done, "topics": done}
    assert waits == {
        "migrate": {"postgres": healthy},
        "topics": {"kafka": healthy},
        "source": {"mongo": healthy, **both},
        "consumer": {"postgres": healthy, **both},
    }


def test_clients_find_every_server_by_its_own_address(services: dict[str, dict[str, Any]]) -> None:
    initiated = services["mongo"]["healthcheck"]["test"][-1]
    assert 'host: "mongo:27017"' in initiated
    advertised = services["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    published = services["kafka"]["ports"][0]["published"]
    assert advertised == f"PLAINTEXT://kafka:9092,PLAINTEXT_HOST://127.0.0.1:{published}"
    for name in OURS:
        environment = services[name]["environment"]
        assert environment["KAFKA_BOOTSTRAP_SERVERS"] == "kafka:9092"
        assert environment["MONGODB_URI"].startswith("mongodb://mongo:27017/property-management?")
        assert "@postgres:5432/" in environment["DATABASE_URL"]


def test_the_image_passes_the_linter_and_is_nobody_special() -> None:
    linted = subprocess.run(
        [PROGRAMS / "hadolint", "Dockerfile"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert linted.returncode == 0, linted.stdout + linted.stderr
    dockerfile = (REPOSITORY / "Dockerfile").read_text()
    last = dockerfile[dockerfile.rindex("\nFROM ") :]
    assert "\nUSER 10001:10001\n" in last
    assert "--require-hashes -r requirements-runtime.lock" in dockerfile


def test_the_image_gets_all_it_copies_and_nothing_secret() -> None:
    lines = (REPOSITORY / ".dockerignore").read_text().splitlines()
    let_in = {line[1:] for line in lines if line.startswith("!")}
    assert "*" in lines
    copied = {
        word
        for line in (REPOSITORY / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for word in line.split()[1:-1]
    }
    assert copied == let_in
