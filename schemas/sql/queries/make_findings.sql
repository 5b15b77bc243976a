CREATE TEMP TABLE findings (
    severity smallint, check_name text, entity text, book text, source text, row_id text,
    field text, reason text, resolve text
)
