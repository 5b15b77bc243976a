SELECT source, '' AS stream, entity AS endpoint, 'unknown_tombstone' AS category,
    count(*) AS objects, count(*) AS count,
    'deleted before it was ever told' AS detail,
    min(applied_at) AS first_seen, max(applied_at) AS last_seen
FROM budget.unknown_tombstones
GROUP BY source, entity
ORDER BY source, entity
