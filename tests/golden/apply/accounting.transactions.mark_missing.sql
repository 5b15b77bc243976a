UPDATE accounting.transactions AS t
SET deleted = true, applied_at = now()
WHERE t.topic = $1 AND t.partition = $2 AND t."offset" < $3 AND NOT t.deleted
    AND NOT EXISTS (
        SELECT FROM pg_temp.living AS l
        WHERE l.book = t.book AND l.source = t.source AND l.id = t.id
    )
