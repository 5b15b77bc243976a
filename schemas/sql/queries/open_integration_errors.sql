SELECT source, stream, endpoint, category,
    count(*) FILTER (WHERE subject <> '') AS objects,
    sum(count)::bigint AS count,
    max(detail) AS detail,
    min(first_seen) AS first_seen,
    max(last_seen) AS last_seen
FROM sync.integration_errors
WHERE resolved_at IS NULL
GROUP BY source, stream, endpoint, category
ORDER BY max(last_seen) DESC
LIMIT 200
