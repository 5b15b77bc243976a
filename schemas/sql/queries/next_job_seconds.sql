-- Until something is due, by itself or because a lease runs out; null: nothing is open.
SELECT greatest(0, extract(epoch FROM
    min(CASE state WHEN 'running' THEN lease_until ELSE run_at END) - now()))::float8
FROM sync.jobs
WHERE state IN ('waiting', 'running', 'retrying')
