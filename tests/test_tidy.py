"""The rules of the house that a program can hold: layers, sizes, names, and what may not stand."""

import ast
import functools
import re
import subprocess
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PRODUCT = ("cdc", "consumers", "schemas")
OURS = (*PRODUCT, "compose", "bench", "tests")
FUNCTION_LINES_MAX, FILE_LINES_MAX, LINE_LENGTH_MAX, FOLDERS_MAX = 70, 400, 100, 3
BANNED_NAMES = {"utils", "util", "common", "helpers", "helper", "manager", "managers", "misc"}
LOG_METHODS = {"debug", "info", "warning", "error", "exception", "critical"}
LOG_NAMES = {"log", "_log", "logger", "_logger"}
# What a package may import of ours; the longest name that fits counts.
LAYERS = {
    "schemas": ("schemas",),
    "cdc.runtime": ("cdc.runtime",),
    "consumers": ("consumers", "schemas", "cdc.runtime"),
    "cdc.app": ("cdc", "schemas", "consumers"),
    "cdc": ("cdc", "schemas"),
    "compose.stack": ("compose.stack",),
}
MOTOR_HOME = "cdc/sources/mongo.py"
ENVIRONMENT_READERS = re.compile(r"cdc/(settings|runtime/settings\w*)\.py|(compose|tests|bench)/.*")
EXITS = re.compile(r"(cdc|schemas/generate)/__main__\.py|(compose|tests|bench)/.*")
MACHINE_PATH = re.compile(r"(?<![\w.$}])/(?:work|root|home|farm|Users)/[A-Za-z]")
REGISTRY_HOST = re.compile(
    r"pypi\.org|pythonhosted|repo1?\.maven|registry\.npmjs|deb\.debian|proxy\.golang|crates\.io"
)
EXCUSES = (ast.While, ast.For, ast.AsyncFor, ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
UNFINISHED = re.compile(r"\b(?:TODO|FIXME|XXX|HACK)\b")


@functools.cache
def tracked() -> tuple[Path, ...]:
    """Every file that is, or is about to be, part of the project."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    names = sorted(filter(None, set(listed.stdout.split("\0"))))
    return tuple(Path(name) for name in names if (REPOSITORY / name).is_file())


@functools.cache
def texts() -> dict[Path, str]:
    """The tracked files that are text."""
    found = {}
    for path in tracked():
        content = (REPOSITORY / path).read_bytes()
        if b"\0" not in content[:8192]:
            found[path] = content.decode(errors="replace")
    return found


@functools.cache
def trees() -> dict[Path, ast.Module]:
    """Our Python files, parsed."""
    return {
        path: ast.parse(text, str(path))
        for path, text in texts().items()
        if path.suffix == ".py" and path.parts[0] in OURS
    }


def product_trees() -> Iterator[tuple[Path, ast.Module]]:
    return ((path, tree) for path, tree in trees().items() if path.parts[0] in PRODUCT)


def module_name(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, full name) of everything a file imports; of `from a import b` it is a.b."""
    package = module_name(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*start, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def dotted(node: ast.expr) -> str:
    """`a.b.c` of an attribute chain; empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return ""


def fail_with(faults: list[str]) -> None:
    if faults:
        pytest.fail("\n".join(faults), pytrace=False)


def test_arrows_point_one_way() -> None:
    faults = []
    for path, tree in trees().items():
        name = module_name(path)
        layer = max((each for each in LAYERS if within(name, each)), key=len, default=None)
        if layer is None:
            continue
        for line, target in imports(path, tree):
            if target.split(".")[0] in OURS and not any(
                within(target, allowed) for allowed in LAYERS[layer]
            ):
                faults.append(f"{path}:{line}: {layer} may not import {target}")
    fail_with(faults)


def test_modules_import_each_other_in_no_circle() -> None:
    """Also not in a type checker's eyes: who is in a circle cannot be read alone."""
    known = {module_name(path) for path, _ in product_trees()}
    graph = {
        module_name(path): {
            found
            for _, target in imports(path, tree)
            if (found := target if target in known else target.rpartition(".")[0]) in known
        }
        for path, tree in product_trees()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]), pytrace=False)


def test_motor_is_known_in_one_file() -> None:
    fail_with(
        [
            f"{path}:{line}: only {MOTOR_HOME} may import motor"
            for path, tree in product_trees()
            for line, target in imports(path, tree)
            if within(target, "motor") and str(path) != MOTOR_HOME
        ]
    )


def test_functions_files_and_lines_are_small() -> None:
    faults = []
    for path, tree in trees().items():
        lines = texts()[path].splitlines()
        if len(lines) > FILE_LINES_MAX:
            faults.append(f"{path}: {len(lines)} lines, {FILE_LINES_MAX} at most")
        for number, line in enumerate(lines, 1):
            if len(line) > LINE_LENGTH_MAX:
                faults.append(f"{path}:{number}: {len(line)} characters")
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > FUNCTION_LINES_MAX:
                    faults.append(f"{path}:{node.lineno}: {node.name} has {length} lines")
    fail_with(faults)


def test_folders_are_shallow_and_names_say_something() -> None:
    faults = []
    for path in tracked():
        if len(path.parts) - 1 > FOLDERS_MAX:
            faults.append(f"{path}: deeper than {FOLDERS_MAX} folders")
        faults += [
            f"{path}: {part} says nothing about what is in it"
            for part in path.parts
            if set(re.split(r"[_.\-]", part.lower())) & BANNED_NAMES
        ]
    faults += [
        f"{path}:{node.lineno}: {node.name} says nothing about what it is"
        for path, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and re.search(r"(Manager|Helper|Util)s?$", node.name)
    ]
    fail_with(faults)


def test_the_environment_is_read_in_one_place() -> None:
    fail_with(
        [
            f"{path}:{node.lineno}: the environment belongs to the settings reader"
            for path, tree in trees().items()
            if not ENVIRONMENT_READERS.fullmatch(str(path))
            for node in ast.walk(tree)
            if isinstance(node, ast.expr) and dotted(node) in ("os.environ", "os.getenv", "environ")
        ]
    )


def test_only_main_ends_the_process() -> None:
    fail_with(
        [
            f"{path}:{node.lineno}: only __main__ may end the process"
            for path, tree in trees().items()
            if not EXITS.fullmatch(str(path))
            for node in ast.walk(tree)
            if isinstance(node, ast.Call)
            and dotted(node.func) in ("sys.exit", "os._exit", "exit", "quit")
        ]
    )


def test_money_is_never_a_float() -> None:
    fail_with(
        [
            f"{path}:{node.lineno}: float, where only exact numbers may be"
            for path, tree in trees().items()
            if path.parts[0] == "schemas"
            for node in ast.walk(tree)
            if isinstance(node, ast.Name) and node.id == "float"
        ]
    )


def test_log_events_are_fixed_lower_case_sentences() -> None:
    faults = []
    for path, tree in product_trees():
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            owner = dotted(node.func.value).split(".")[-1]
            if node.func.attr not in LOG_METHODS or owner not in LOG_NAMES:
                continue
            event = node.args[0] if node.args else None
            if not (isinstance(event, ast.Constant) and isinstance(event.value, str)):
                faults.append(
                    f"{path}:{node.lineno}: a log event is a fixed text, its data are keys"
                )
            elif event.value != event.value.lower() or event.value.endswith("."):
                faults.append(f"{path}:{node.lineno}: not lower case without a full stop")
    fail_with(faults)


def test_modules_say_why_they_exist() -> None:
    fail_with(
        [
            f"{path}: no module docstring"
            for path, tree in trees().items()
            if tree.body and not ast.get_docstring(tree)
        ]
    )


def test_tests_wait_for_conditions_and_do_not_sleep() -> None:
    """A sleep in a loop polls, one in an inner function is a slow double, `sleep(0)` is a turn."""
    faults = []
    for path, tree in trees().items():
        if path.parts[0] != "tests":
            continue
        tests = [
            node
            for node in tree.body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and node.name.startswith("test_")
        ]
        excused = {
            id(inner)
            for test in tests
            for outer in ast.walk(test)
            if outer is not test and isinstance(outer, EXCUSES)
            for inner in ast.walk(outer)
        }
        for node in (node for test in tests for node in ast.walk(test)):
            if not isinstance(node, ast.Call) or id(node) in excused:
                continue
            zero = node.args and isinstance(node.args[0], ast.Constant) and node.args[0].value == 0
            if dotted(node.func) in ("time.sleep", "asyncio.sleep", "sleep") and not zero:
                faults.append(f"{path}:{node.lineno}: wait for a condition with a limit")
    fail_with(faults)


def test_nothing_unfinished_and_no_place_of_one_machine() -> None:
    faults = []
    for path, text in texts().items():
        if path == Path("tests/test_tidy.py"):
            continue
        for number, line in enumerate(text.splitlines(), 1):
            for rule, what in (
                (UNFINISHED, "unfinished"),
                (MACHINE_PATH, "a path of one machine"),
                (REGISTRY_HOST, "the host of a package registry"),
            ):
                if rule.search(line):
                    faults.append(f"{path}:{number}: {what}: {line.strip()[:80]}")
    fail_with(faults)


def test_locks_hold_hashes_and_no_hosts_and_agree() -> None:
    everything = lock_entries("requirements.lock")
    runtime = lock_entries("requirements-runtime.lock")
    assert all("--hash=sha256:" in entry for entry in everything.values())
    assert runtime.items() <= everything.items()
    for name in ("requirements.lock", "requirements-runtime.lock"):
        assert not re.search(r"://|--(index|find-links|extra)", texts()[Path(name)])


def lock_entries(name: str) -> dict[str, str]:
    """Package and version → its hashes."""
    entries = re.split(r"\n(?=\S)", texts()[Path(name)].strip())
    return {
        entry.split()[0]: " ".join(sorted(re.findall(r"--hash=\S+", entry))) for entry in entries
    }
