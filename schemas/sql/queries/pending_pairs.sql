-- What was posted, and what it was while pending, both live and not decided about.
SELECT t.book, t.source, t.id, p.id AS other_id
FROM budget.transactions AS t
JOIN budget.transactions AS p
    ON p.book = t.book AND p.source = t.source AND p.id = t.pending_transaction_id AND NOT p.deleted
WHERE NOT t.deleted AND NOT EXISTS (
    SELECT FROM budget.matches AS m
    WHERE m.book = t.book AND m.state <> 'proposed'
        AND ((m.other_source = t.source AND m.other_id = p.id)
            OR (m.source = t.source AND m.transaction_id = p.id AND m.other_id = t.id))
)
