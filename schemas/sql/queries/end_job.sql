-- The end of one attempt, and what is told of it. No row: another runner has the job.
WITH ended AS (
    UPDATE sync.jobs
    SET state = $4,
        result = coalesce($5::text::jsonb, result),
        errors = CASE WHEN $6::text IS NULL THEN errors
            ELSE errors || jsonb_build_object('attempt', attempts, 'at', now(), 'error', $6) END,
        run_at = CASE WHEN $4 = 'retrying' THEN now() + make_interval(secs => $7) ELSE run_at END,
        attempts = attempts - CASE WHEN $4 = 'waiting' THEN 1 ELSE 0 END,
        finished_at = CASE WHEN $4 IN ('done', 'failed', 'cancelled') THEN now() END,
        lease_until = NULL
    WHERE id = $1 AND runner = $2 AND attempts = $3 AND state = 'running'
    RETURNING id
), told AS (
    INSERT INTO sync.job_events (event, job_id, data)
    SELECT $8::text, id, coalesce($5::text::jsonb, '{}') FROM ended WHERE $8::text IS NOT NULL
)
SELECT id FROM ended
