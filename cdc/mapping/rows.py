"""Which rows a document holds: none, itself, or the elements of its arrays, each with its id."""

from typing import Any, NamedTuple

from cdc.mapping import ids
from cdc.mapping.conditions import Conditions
from cdc.mapping.declared import ID, MappingDeclaration
from cdc.mapping.paths import POSITION, Document, Path, Scope, descend, parse, parse_rows, reader
from cdc.mapping.refusal import Refusal


class Found(NamedTuple):
    """A row of a document. ``id`` None: it cannot be told. ``gone``: soft-deleted.

    ``is_row`` False: not a row, but where rows would be if that place could be read.
    """

    id: str | None
    scope: Scope
    gone: bool = False
    refusal: Refusal | None = None
    is_row: bool = True


class RowId:
    """The id of rows that are whole documents."""

    def __init__(self, declaration: MappingDeclaration) -> None:
        field = declaration.fields[ID]
        self._paths = [parse(text) for text in field.path or ()]
        self._reads = [reader(path) for path in self._paths]
        self._text = ids.ref if field.type == "ref" else ids.text
        self._prefix = declaration.id_prefix

    def of(self, document: Document) -> str:
        """With its prefix; raises ``Refusal``."""
        scope = Scope(document)
        for path, read in zip(self._paths, self._reads, strict=True):
            value = read(scope)
            if value is None and not (str(path) == "_id" and "_id" in document):
                continue
            try:
                return self._prefix + self._text(value)
            except ids.Untellable as error:
                raise Refusal(str(error), str(path)) from None
        raise Refusal("is missing", str(self._paths[0]))


class DocumentRows:
    """A mapping without ``rows``: the document is the row, if it meets the conditions."""

    def __init__(self, declaration: MappingDeclaration) -> None:
        self._id = RowId(declaration)
        self._where = Conditions(declaration.where)
        self._deleted_when = Conditions(declaration.deleted_when, present=True)

    def find(self, document: Document) -> list[Found]:
        """One row, or none."""
        scope = Scope(document)
        if not self._where.all(scope):
            return []
        try:
            row_id = self._id.of(document)
        except Refusal as refusal:
            return [Found(None, scope, refusal=refusal)]
        return [Found(row_id, scope, self._deleted_when.any(scope))]


class ArrayRows:
    """A mapping with ``rows``: every element is a row, its id its document's and its own."""

    def __init__(self, declaration: MappingDeclaration) -> None:
        self._arrays = parse_rows(declaration.rows or "")
        self._text = declaration.rows or ""
        depth = len(self._arrays)
        self._where = Conditions(declaration.where, depth)
        self._deleted_when = Conditions(declaration.deleted_when, depth, present=True)
        self._prefix = declaration.id_prefix
        field = declaration.fields.get(ID)
        self._id_paths = [parse(each) for each in (field.path if field else None) or ()]
        self._id_text = ids.ref if field and field.type == "ref" else ids.text

    def find(self, document: Document) -> list[Found]:
        """The rows in their order; of two with one id, the second is refused."""
        root = Scope(document)
        try:
            parent = self._prefix + ids.part(ids.text(document.get("_id")))
        except ids.Untellable as error:
            return [Found(None, root, refusal=Refusal(str(error), "_id"), is_row=False)]
        found: list[Found] = []
        self._descend(root, parent, 0, found)
        seen: set[str] = set()
        for index, row in enumerate(found):
            if row.refusal is None and row.id is not None:
                if row.id in seen:
                    refusal = Refusal("has the id of another row of this document", self._id_path)
                    found[index] = row._replace(refusal=refusal)
                seen.add(row.id)
        return found

    @property
    def _id_path(self) -> str:
        return str(self._id_paths[0]) if self._id_paths else POSITION

    def _descend(self, scope: Scope, parent: str, depth: int, found: list[Found]) -> None:
        if depth == len(self._arrays):
            if self._where.all(scope):
                found.append(Found(parent, scope, self._deleted_when.any(scope)))
            return
        array = descend(scope.document, self._arrays[depth])
        if array is None:
            return
        if not isinstance(array, list):
            self._refuse(found, parent, scope, depth, "is no array")
            return
        for position, element in enumerate(array):
            if not isinstance(element, dict):
                row_id = f"{parent}/{POSITION}{position}"
                is_row = depth + 1 == len(self._arrays)
                reason = "holds an element that is no document"
                self._refuse(found, row_id, scope, depth, reason, is_row=is_row)
                continue
            inner = Scope(element, position, scope)
            try:
                row_id = f"{parent}/{self._element(inner, depth + 1)}"
            except Refusal as refusal:
                if self._where.possible(inner, depth + 1):
                    found.append(Found(parent, inner, refusal=refusal, is_row=False))
                continue
            self._descend(inner, row_id, depth + 1, found)

    def _refuse(
        self,
        found: list[Found],
        row_id: str,
        scope: Scope,
        depth: int,
        reason: str,
        *,
        is_row: bool = False,
    ) -> None:
        if self._where.possible(scope, depth):
            refusal = Refusal(reason, self._text)
            found.append(Found(row_id, scope, refusal=refusal, is_row=is_row))

    def _element(self, scope: Scope, depth: int) -> str:
        """The element's own id, else its position."""
        for path in self._id_paths:
            value = self._own(path, scope, depth)
            if value is not None:
                try:
                    return ids.part(self._id_text(value))
                except ids.Untellable as error:
                    raise Refusal(str(error), str(path)) from None
        return f"{POSITION}{scope.position}"

    def _own(self, path: Path, scope: Scope, depth: int) -> Any:
        """Every level has its own id: a path that climbs beyond the document has none there."""
        if path.position or path.climbs > depth:
            return None
        return reader(path)(scope)


def possible_row(declaration: MappingDeclaration, raw_id: Any) -> str | None:
    """What can be told of the id of a document's rows from its ``_id`` alone."""
    try:
        if declaration.rows is not None:
            return declaration.id_prefix + ids.part(ids.text(raw_id))
        if declaration.id_from_key:
            return RowId(declaration).of({"_id": raw_id})
    except (Refusal, ids.Untellable):
        pass
    return None
