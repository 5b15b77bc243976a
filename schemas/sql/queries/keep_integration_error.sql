INSERT INTO sync.integration_errors AS known
    (source, stream, endpoint, category, subject, count, detail, resolved_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, CASE WHEN $8 THEN NULL ELSE now() END)
ON CONFLICT (source, stream, endpoint, category, subject) DO UPDATE
SET count = known.count + excluded.count,
    detail = excluded.detail,
    last_seen = now(),
    resolved_at = excluded.resolved_at
