-- The gravest first.
SELECT check_name, entity, book, source, row_id, field, severity, reason, resolve
FROM sync.validation_issues
WHERE last_report = $1 AND resolved_at IS NULL
ORDER BY severity DESC, check_name, entity, book, source, row_id, field
LIMIT $2
