-- Due ones, and those whose runner is gone: that it went away is noted as the attempt's error.
WITH due AS (
    SELECT id FROM sync.jobs
    WHERE (state IN ('waiting', 'retrying') AND run_at <= now())
        OR (state = 'running' AND lease_until < now())
    ORDER BY run_at, id
    LIMIT $2
    FOR UPDATE SKIP LOCKED
)
UPDATE sync.jobs AS j
SET state = CASE WHEN j.state = 'running' AND j.cancel_asked THEN 'cancelled'
        WHEN j.state = 'running' AND j.attempts >= j.attempts_max THEN 'failed'
        ELSE 'running' END,
    finished_at = CASE WHEN j.state = 'running'
        AND (j.cancel_asked OR j.attempts >= j.attempts_max) THEN now() END,
    lease_until = CASE WHEN j.state = 'running'
        AND (j.cancel_asked OR j.attempts >= j.attempts_max) THEN NULL
        ELSE now() + make_interval(secs => $3) END,
    attempts = j.attempts + CASE WHEN j.state = 'running'
        AND (j.cancel_asked OR j.attempts >= j.attempts_max) THEN 0 ELSE 1 END,
    errors = CASE WHEN j.state = 'running' THEN j.errors || jsonb_build_object('attempt',
        j.attempts, 'at', now(), 'error', 'its runner went away: ' || j.runner) ELSE j.errors END,
    started_at = coalesce(j.started_at, now()),
    runner = $1
FROM due
WHERE j.id = due.id
RETURNING j.id, j.kind, j.params::text AS params, j.state, j.attempts, j.attempts_max,
    j.cursor::text AS cursor, j.requested_by
