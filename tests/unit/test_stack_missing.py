"""What a person reads when the machine lacks something: one line, and the way out."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from compose.stack import java, servers
from compose.stack.errors import StackError
from compose.stack.names import REPOSITORY, Place
from compose.stack.ports import free_port, is_free
from compose.stack.server import silent
from compose.stack.wheels import program_path


def stack_without_programs(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "compose.stack", *words],
        cwd=REPOSITORY,
        env={**os.environ, "PATH": "/nonexistent"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_no_java_is_said_with_the_package_that_helps() -> None:
    refused = stack_without_programs("fetch")
    assert refused.returncode == 3
    assert "there is no `java`" in refused.stderr
    assert "apt-get install" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_an_old_java_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "java"
    program.write_text("")
    program.chmod(0o755)
    (tmp_path / "release").write_text('JAVA_VERSION="11.0.25"\n')
    monkeypatch.setenv("PATH", str(program.parent))
    with pytest.raises(StackError, match=r"needs Java 17; .* is 11"):
        java.find_java()
    (tmp_path / "release").write_text('JAVA_VERSION="21.0.2"\n')
    assert java.find_java().program == program


async def test_no_maven_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(java, "CACHE", tmp_path)
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(StackError, match="there is no `mvn`"):
        await java.fetch_jars(silent)


async def test_a_failed_download_is_told_in_mavens_words_and_leaves_no_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maven = tmp_path / "bin" / "mvn"
    maven.parent.mkdir()
    maven.write_text("#!/bin/sh\necho Could not transfer artifact\nexit 1\n")
    maven.chmod(0o755)
    monkeypatch.setattr(java, "CACHE", tmp_path / "cache")
    monkeypatch.setenv("PATH", str(maven.parent))
    with pytest.raises(StackError, match="Could not transfer artifact"):
        await java.fetch_jars(silent)
    assert not (java.cache_folder() / "jars").exists()


async def test_a_full_disk_is_said_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "DISK_BYTES_MIN", 1 << 60)
    stack = servers.Stack(tmp_path)
    with pytest.raises(StackError, match="GB are free below"):
        await stack.start()
    assert not any(each.running for each in stack.servers)


def test_a_missing_wheel_is_said() -> None:
    with pytest.raises(StackError, match="no-such-wheel is not installed") as caught:
        program_path("no-such-wheel", "bin/server")
    assert caught.value.way_out == "make install"


@pytest.mark.parametrize("name", ["", "env", "../x", "A", "a b", "x" * 40])
def test_a_name_that_cannot_be_a_folder_is_refused(name: str) -> None:
    with pytest.raises(StackError, match="cannot be the name"):
        Place(name)


def test_a_port_for_a_server_is_given_once_and_not_one_of_outgoing_connections() -> None:
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    ports = [free_port() for _ in range(50)]
    assert all(is_free(port) and 1024 < port < first for port in ports)
    assert len(set(ports)) == len(ports)
