SELECT id, source, kind, state, result::text AS result, error
FROM sync.requests
WHERE id = $1
