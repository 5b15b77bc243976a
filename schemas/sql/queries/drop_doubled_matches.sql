-- What was posted has made two matches one: what a person decided stands, then the later one.
DELETE FROM budget.matches
WHERE id IN (
    SELECT id FROM (
        SELECT id, row_number() OVER (
            PARTITION BY book,
                least(source || '/' || transaction_id, other_source || '/' || other_id),
                greatest(source || '/' || transaction_id, other_source || '/' || other_id)
            ORDER BY state = 'proposed', decided_by LIKE 'job %', decided_at DESC, id
        ) AS place
        FROM budget.matches_now
    ) AS ranked
    WHERE place > 1
)
