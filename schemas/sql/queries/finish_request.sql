UPDATE sync.requests
SET state = $2, error = $3, finished_at = now()
WHERE id = $1 AND state IN ('waiting', 'running')
