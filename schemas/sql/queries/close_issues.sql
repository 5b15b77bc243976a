-- What was looked for and not found again is resolved.
UPDATE sync.validation_issues
SET resolved_at = now()
WHERE resolved_at IS NULL AND last_report < $1 AND severity >= $2
