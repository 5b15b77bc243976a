"""From file, environment and flags to the frozen tree, or to everything that is wrong with them.

Precedence: flags, then the environment, then the file; the plain names that other programs use
(``MONGODB_URI``, ``DATABASE_URL``, …) only where nothing else says it.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from cdc.mapping.declared import MappingDeclaration
from cdc.runtime.settings_reader import (
    HIDDEN,
    Fault,
    FaultySettings,
    SettingsTree,
    did_you_mean,
    environment,
    nearest,
    without_password,
)
from cdc.settings.kinds import WRONG
from cdc.settings.plain_names import lay_plain_names
from cdc.settings.tree import SOURCE_TYPES, Settings

DEFAULT_FILE = "ledger.toml"
PREFIX = "CDC_"
CONFIG_VARIABLE = "CDC_CONFIG"
VALUE_CHARS_MAX = 80


def load(
    config: Path | None = None,
    flags: Iterable[str] = (),
    variables: Mapping[str, str] | None = None,
) -> Settings:
    """The settings; raises ``FaultySettings``. ``flags``: ``path.to.key=value`` each."""
    known = environment() if variables is None else variables
    tree = SettingsTree()
    said = config or (Path(known[CONFIG_VARIABLE]) if known.get(CONFIG_VARIABLE) else None)
    tree.read_file(said or Path(DEFAULT_FILE), required=said is not None)
    tree.read_environment(known, PREFIX, ignored=(CONFIG_VARIABLE,))
    for flag in flags:
        key, equals, value = flag.partition("=")
        if equals:
            tree.lay(tuple(key.split(".")), value, "--set")
        else:
            tree.faults.append(Fault(f"--set {flag}", "", "is not key=value"))
    lay_plain_names(tree, known)
    settings = _built(tree)
    tree.faults += _mapping_faults(tree)
    if settings is None or tree.faults:
        raise FaultySettings(tree.faults)
    return settings


def _built(tree: SettingsTree) -> Settings | None:
    try:
        return Settings.model_validate(tree.values)
    except ValidationError as error:
        tree.faults += _merged(_fault(each, tree) for each in error.errors(include_url=False))
        return None


def _mapping_faults(tree: SettingsTree) -> list[Fault]:
    """What makes no sense in mappings whose form is right, whatever else is wrong."""
    found: list[Fault] = []
    sources = tree.values.get("sources")
    for name, source in sources.items() if isinstance(sources, dict) else ():
        tables = source.get("mappings") if isinstance(source, dict) else None
        if not isinstance(tables, list) or not tables:
            continue
        from cdc.mapping.checks import faults  # only a process with mappings needs it

        declared = [_declared(table) for table in tables]
        for each in faults([declaration for declaration, _ in declared]):
            at, *keys = each.place.split(".")
            if tuple(keys[:1]) in declared[int(at)][1] or tuple(keys[:2]) in declared[int(at)][1]:
                continue  # told already: its form is wrong
            path = ("sources", name, "mappings", at, *keys)
            found.append(each._replace(place=tree.place(path)))
    return found


_DECISIVE = ("entity", "rows", "id_prefix", "fields")
"""Without these nothing can be said of the rest of a mapping."""


def _declared(table: object) -> tuple[MappingDeclaration | None, set[tuple[str, ...]]]:
    """A mapping without the keys and fields whose form is wrong (told by the tree), and these.

    None: too much of it is wrong.
    """
    wrong: set[tuple[str, ...]] = set()
    try:
        return MappingDeclaration.model_validate(table), wrong
    except ValidationError as error:
        for each in error.errors(include_url=False):
            key, *inside = map(str, each["loc"]) if each["loc"] else [""]
            wrong.add((key, inside[0]) if key == "fields" and inside else (key,))
    meant = {nearest(part[0], MappingDeclaration.model_fields) for part in wrong if len(part) == 1}
    if not isinstance(table, dict) or meant & set(_DECISIVE):
        return None, wrong
    left = {key: value for key, value in table.items() if (key,) not in wrong}
    fields = left.get("fields", {}).items()
    left["fields"] = {name: value for name, value in fields if ("fields", name) not in wrong}
    try:
        return MappingDeclaration.model_validate({"collection": "?", **left}), wrong
    except ValidationError:
        return None, wrong


def _merged(faults: Iterable[Fault]) -> list[Fault]:
    """One fault a place: pydantic tells one for each member of a union."""
    found: dict[str, Fault] = {}
    for each in faults:
        known = found.get(each.place)
        if known is None:
            found[each.place] = each
        elif each.reason not in known.reason:
            reason = f"{known.reason}, or {each.reason.removeprefix('should be ')}"
            found[each.place] = known._replace(reason=reason)
    return list(found.values())


def _fault(error: ErrorDetails, tree: SettingsTree) -> Fault:
    """One of pydantic's errors, in our words and without secrets."""
    path, model = _walked(error["loc"], tree.values)
    kind = error["type"]
    if kind == "extra_forbidden":
        fields = {} if model is None else model.model_fields
        known = [info.alias or name for name, info in fields.items()]
        return Fault(tree.place(path), "", "unknown key", did_you_mean(path[-1], known))
    if kind == "missing":
        return Fault(tree.place(path), "", "is missing", "give it a value")
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        source = error["input"]
        said = str(source.get("type", "")) if isinstance(source, dict) else ""
        reason = "no such type of source" if said else "is missing"
        return Fault(tree.place((*path, "type")), said, reason, did_you_mean(said, SOURCE_TYPES))
    value = _shown(error["input"], secret=_is_secret(path, model))
    fix = error.get("ctx", {}).get("fix", "") if kind == WRONG else ""
    return Fault(tree.place(path), value, _reason(error), fix)


def _walked(
    loc: tuple[int | str, ...], values: Mapping[str, Any]
) -> tuple[tuple[str, ...], type[BaseModel] | None]:
    """The setting's path, and the model it belongs to.

    What pydantic puts between (a union's tags and members, ``[key]``) is no part of the path: it
    is not in what was said. The name of a missing field is.
    """
    path: list[str] = []
    model: type[BaseModel] | None = Settings
    parent: type[BaseModel] | None = Settings
    said: Any = values
    for index, part in enumerate(loc):
        if part in SOURCE_TYPES and path[:1] == ["sources"] and len(path) == 2:
            model = SOURCE_TYPES[str(part)]
            continue
        inside, following = _inside(said, part)
        info = _field(model, part)
        if not inside and (info is None or index < len(loc) - 1):
            continue
        path.append(str(part))
        parent, said = model, following
        model = _model_in(info.annotation) if info is not None else model
    return tuple(path), parent


def _inside(said: Any, part: int | str) -> tuple[bool, Any]:
    """Whether there is such a key or element, and what stands there."""
    if isinstance(said, dict) and part in said:
        return True, said[part]
    if isinstance(said, list | tuple) and isinstance(part, int) and part < len(said):
        return True, said[part]
    return False, said


def _field(model: type[BaseModel] | None, part: int | str) -> FieldInfo | None:
    """The model's field of that name or alias."""
    fields = {} if model is None else model.model_fields
    return next((info for name, info in fields.items() if part in (name, info.alias)), None)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model behind a field's type, also inside ``dict[str, X]``, ``X | None``, ``tuple``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in get_args(annotation):
        if (found := _model_in(inner)) is not None:
            return found
    return None


def _is_secret(path: tuple[str, ...], model: type[BaseModel] | None) -> bool:
    info = _field(model, path[-1]) if path else None
    if info is None:
        return False
    kinds = (info.annotation, *get_args(info.annotation))
    return any(isinstance(kind, type) and issubclass(kind, SecretStr) for kind in kinds)


def _shown(value: Any, *, secret: bool) -> str:
    if not isinstance(value, str | int | float):
        return ""  # its parts may be secrets
    if secret and not (isinstance(value, str) and "://" in value and "@" in value):
        return HIDDEN
    text = without_password(repr(value))
    return text if len(text) <= VALUE_CHARS_MAX else f"{text[:VALUE_CHARS_MAX]}…"


_REASONS = {
    "string_pattern_mismatch": "has a form that is not allowed ({pattern})",
    "string_too_short": "must not be empty",
    "literal_error": "must be {expected}",
}


def _reason(error: ErrorDetails) -> str:
    template = _REASONS.get(error["type"])
    if template is not None:
        return template.format(**error.get("ctx", {}))
    text = error["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return text[:1].lower() + text[1:]
