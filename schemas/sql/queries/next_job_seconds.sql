-- Until something is due, by itself or because a lease runs out; null: nothing is open.
SELECT CASE WHEN seconds < 0 THEN 0 ELSE seconds END::float8 -- greatest() takes a null for 0
FROM (
    SELECT extract(epoch FROM
        min(CASE state WHEN 'running' THEN lease_until ELSE run_at END) - now()) AS seconds
    FROM sync.jobs
    WHERE state IN ('waiting', 'running', 'retrying')
) AS next
