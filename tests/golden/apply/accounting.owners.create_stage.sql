CREATE TEMPORARY TABLE stage_accounting_owners (
    "book" text,
    "source" text,
    "id" text,
    "name" text,
    "email" text,
    "phone" text,
    "role" text,
    "deleted" boolean,
    "version" text,
    "source_ms" bigint,
    "partition" integer,
    "offset" bigint
) ON COMMIT DELETE ROWS
