-- One row for a unique key, ever: who comes second gets the first one's.
WITH made AS (
    INSERT INTO sync.jobs (kind, params, unique_key, run_at, attempts_max, requested_by)
    VALUES ($1, $2::text::jsonb, $3, coalesce($4, now()), $5, $6)
    ON CONFLICT (unique_key) DO NOTHING
    RETURNING id
)
SELECT id, true AS is_new FROM made
UNION ALL
SELECT id, false FROM sync.jobs WHERE unique_key = $3 AND NOT EXISTS (SELECT FROM made)
