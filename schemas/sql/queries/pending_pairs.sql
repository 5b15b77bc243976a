-- What was posted, and what it was while pending, both live and not decided about.
SELECT s.book, s.source, s.id, s.pending_id AS other_id
FROM budget.posted_for_pending AS s
JOIN budget.transactions AS p
    ON p.book = s.book AND p.source = s.source AND p.id = s.pending_id AND NOT p.deleted
WHERE NOT EXISTS (
    SELECT FROM budget.matches AS m
    WHERE m.book = s.book AND m.state <> 'proposed'
        AND m.other_source = s.source AND m.other_id = s.pending_id
        AND (m.state = 'confirmed' OR (m.source = s.source AND m.transaction_id = s.id))
)
