SELECT id, kind, params::text AS params, state, attempts, attempts_max, unique_key, run_at,
    cursor::text AS cursor, progress::text AS progress, result::text AS result,
    errors::text AS errors, requested_by, requested_at, started_at, finished_at, cancel_asked,
    runner
FROM sync.jobs
WHERE ($1::bigint IS NULL OR id = $1) AND ($2::text IS NULL OR state = $2)
    AND ($3::text IS NULL OR kind = $3)
ORDER BY id DESC
LIMIT $4
