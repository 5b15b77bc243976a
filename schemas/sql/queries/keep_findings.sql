-- What was found becomes, or stays, an open issue; one row where the same was found twice.
INSERT INTO sync.validation_issues AS i (check_name, entity, book, source, row_id, field,
    severity, reason, resolve, first_report, last_report)
SELECT DISTINCT ON (check_name, entity, book, source, row_id, field)
    check_name, entity, book, source, row_id, field, severity, reason, resolve, $1, $1
FROM pg_temp.findings
WHERE severity >= $2
ORDER BY check_name, entity, book, source, row_id, field, severity DESC
ON CONFLICT (check_name, entity, book, source, row_id, field) DO UPDATE
SET severity = excluded.severity,
    reason = excluded.reason,
    resolve = excluded.resolve,
    first_report = CASE WHEN i.resolved_at IS NULL THEN i.first_report ELSE $1 END,
    first_seen = CASE WHEN i.resolved_at IS NULL THEN i.first_seen ELSE now() END,
    last_report = $1,
    last_seen = now(),
    resolved_at = NULL
