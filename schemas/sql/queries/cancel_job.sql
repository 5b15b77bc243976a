-- At once where nobody runs it; else its runner is told. No row: it has ended, or never was.
UPDATE sync.jobs
SET cancel_asked = true,
    state = CASE WHEN state = 'running' THEN state ELSE 'cancelled' END,
    finished_at = CASE WHEN state = 'running' THEN NULL ELSE now() END
WHERE id = $1 AND state IN ('waiting', 'running', 'retrying')
RETURNING state
