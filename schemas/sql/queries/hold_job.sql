-- No row: another runner has it.
UPDATE sync.jobs
SET lease_until = now() + make_interval(secs => $4),
    progress = coalesce($5::text::jsonb, progress),
    cursor = coalesce($6::text::jsonb, cursor)
WHERE id = $1 AND runner = $2 AND attempts = $3 AND state = 'running'
RETURNING cancel_asked
