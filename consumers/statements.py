"""The SQL that writes rows, built from a projection: pure functions, held by golden files.

Rows come staged (COPY into a temporary table) or, where they are few, as one array of texts a
column; Postgres parses the texts either way. One guard decides: a row is written only where the
event's version is greater than the row's; a replay also writes an equal one that differs.
"""

from consumers.projections.projection import HASH, KEY, Projection

FOLLOWING = (
    "deleted",
    "version",
    "source_time",
    "topic",
    "partition",
    '"offset"',
    "applied_at",
)
"""What stands behind the content in every table."""

LIVE = "live"
REPLAY = "replay"


def stage_table(projection: Projection) -> str:
    """Name of the session's staging table."""
    return f"stage_{projection.table.replace('.', '_')}"


def stage_columns(projection: Projection) -> tuple[tuple[str, str], ...]:
    """(column, type) in the order of ``Row.texts``."""
    content = [(name, "text" if kind == "bytea" else kind) for name, kind in projection.content]
    return (
        *((name, "text") for name in KEY),
        *content,
        ("deleted", "boolean"),
        ("version", "text"),
        ("source_ms", "bigint"),
        ("partition", "integer"),
        ("offset", "bigint"),
    )


def create_stage(projection: Projection) -> str:
    """Made once a session; emptied by every commit."""
    columns = ",\n    ".join(f'"{name}" {kind}' for name, kind in stage_columns(projection))
    return (
        f"CREATE TEMPORARY TABLE {stage_table(projection)} (\n    {columns}\n) "
        "ON COMMIT DELETE ROWS"
    )


def upsert(
    projection: Projection, *, known: bool = True, staged: bool = False, mode: str = LIVE
) -> str:
    """Writes rows of the topic $1; its row count is what was written.

    ``known``: with their content; else deletes that came without any, and what the rows hold
    stays. ``staged``: from the staging table; else from arrays, $2 on.
    """
    content = [name for name, _ in projection.content] if known else []
    return "\n".join(
        (
            f"INSERT INTO {projection.table} AS t ({', '.join(_columns(content))})",
            f"SELECT {', '.join(_values(projection, known))}",
            f"FROM {_staged(projection) if staged else _arrays(projection)}",
            f"ON CONFLICT ({', '.join(KEY)}) DO UPDATE SET",
            f"    {_assigned(content)}",
            f"WHERE {_guard(content, mode)}",
        )
    )


def compare(projection: Projection, *, known: bool) -> str:
    """Counts what a replay of rows (arguments as for ``upsert``) would do to the table."""
    content = [name for name, _ in projection.content] if known else []
    named = zip(_values(projection, known), _columns(content), strict=True)
    return "\n".join(
        (
            "SELECT count(*) FILTER (WHERE t.id IS NULL) AS inserted,",
            "    count(*) FILTER (WHERE s.version > t.version) AS updated,",
            f"    count(*) FILTER (WHERE s.version = t.version AND {_differs(content, 's')})",
            "        AS healed",
            "FROM (",
            f"    SELECT {', '.join(f'{value} AS {name}' for value, name in named)}",
            f"    FROM {_arrays(projection)}",
            ") AS s",
            f"LEFT JOIN {projection.table} AS t",
            f"    ON {' AND '.join(f't.{name} = s.{name}' for name in KEY)}",
        )
    )


def rows_of(projection: Projection) -> str:
    """The rows of an id ($1), of one source ($2) or of all."""
    return "\n".join(
        (
            "SELECT *",
            f"FROM {projection.table}",
            "WHERE id = $1 AND ($2::text IS NULL OR source = $2)",
            "ORDER BY book, source",
        )
    )


def mark_missing(projection: Projection) -> str:
    """Marks rows of a partition ($1, $2) that came from below an offset ($3) and live no more."""
    return "\n".join(
        (
            f"UPDATE {projection.table} AS t",
            "SET deleted = true, applied_at = now()",
            'WHERE t.topic = $1 AND t.partition = $2 AND t."offset" < $3 AND NOT t.deleted',
            "    AND NOT EXISTS (",
            "        SELECT FROM pg_temp.living AS l",
            "        WHERE l.book = t.book AND l.source = t.source AND l.id = t.id",
            "    )",
        )
    )


def count_newer(projection: Projection) -> str:
    """How many of the keys ($1-$3) have a version above the one given ($4, hex)."""
    return "\n".join(
        (
            "SELECT count(*)",
            "FROM unnest($1::text[], $2::text[], $3::text[], $4::text[])",
            "    AS s (book, source, id, version)",
            f"JOIN {projection.table} AS t USING ({', '.join(KEY)})",
            "WHERE t.version > decode(s.version, 'hex')",
        )
    )


def _staged(projection: Projection) -> str:
    return f"pg_temp.{stage_table(projection)} AS s"


def _arrays(projection: Projection) -> str:
    """The same rows, one text array a column, $2 on."""
    columns = stage_columns(projection)
    arrays = ", ".join(f"${number}::text[]" for number in range(2, len(columns) + 2))
    names = ", ".join(f'"{name}"' for name, _ in columns)
    return f"unnest({arrays})\n    AS s ({names})"


def _columns(content: list[str]) -> list[str]:
    return [*KEY, *content, *FOLLOWING]


def _values(projection: Projection, known: bool) -> list[str]:
    """The staged texts as the table's types (a cast to the type a column has costs nothing)."""
    content = []
    for name, kind in projection.content if known else ():
        content.append(f"decode(s.{name}, 'hex')" if name == HASH else f"s.{name}::{kind}")
    return [
        *(f"s.{name}" for name in KEY),
        *content,
        "s.deleted::boolean",
        "decode(s.version, 'hex')",
        "to_timestamp(s.source_ms::float8 / 1000)",
        "$1",
        "s.partition::integer",
        's."offset"::bigint',
        "now()",
    ]


def _assigned(content: list[str]) -> str:
    return ",\n    ".join(f"{name} = excluded.{name}" for name in (*content, *FOLLOWING))


def _guard(content: list[str], mode: str) -> str:
    newer = "excluded.version > t.version"
    if mode == LIVE:
        return newer
    return f"{newer}\n    OR (excluded.version = t.version AND {_differs(content, 'excluded')})"


def _differs(content: list[str], other: str) -> str:
    names = [*content, "deleted"]
    ours = ", ".join(f"t.{name}" for name in names)
    theirs = ", ".join(f"{other}.{name}" for name in names)
    return f"({ours}) IS DISTINCT FROM ({theirs})"
