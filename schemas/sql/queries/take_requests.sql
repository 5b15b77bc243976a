-- Also those that an owner took before: who owns the source now goes on with them.
UPDATE sync.requests
SET state = 'running', taken_at = coalesce(taken_at, now())
WHERE source = ANY ($1::text[]) AND state IN ('waiting', 'running')
RETURNING id, source, kind, parameters::text AS parameters
