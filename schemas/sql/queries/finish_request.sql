UPDATE sync.requests
SET state = $2, error = $3, result = coalesce($4::text::jsonb, result), finished_at = now()
WHERE id = $1 AND state IN ('waiting', 'running')
