-- Confirmed matches that hold no more are proposals again, and say why. A purchase whose amount the
-- bank changed when it was posted (a tip) is the same one.
UPDATE budget.matches AS m
SET state = 'proposed', decided_by = NULL, decided_at = NULL, reason = m.reason
    || jsonb_build_object('withdrawn', w.why, 'confirmed_by', m.decided_by)
FROM (
    SELECT n.id, 'the amounts differ' AS why
    FROM budget.matches_now AS n
    JOIN budget.transactions AS k
        ON k.book = n.book AND k.source = n.source AND k.id = n.transaction_id AND NOT k.deleted
    JOIN budget.transactions AS t
        ON t.book = n.book AND t.source = n.other_source AND t.id = n.other_id AND NOT t.deleted
    LEFT JOIN budget.transactions AS kp
        ON kp.book = k.book AND kp.source = k.source AND kp.id = k.pending_transaction_id
    LEFT JOIN budget.transactions AS tp
        ON tp.book = t.book AND tp.source = t.source AND tp.id = t.pending_transaction_id
    WHERE n.state = 'confirmed' AND n.decided_by LIKE 'job %' AND (
        k.currency IS DISTINCT FROM t.currency
        OR (k.amount <> t.amount AND k.amount IS DISTINCT FROM tp.amount
            AND t.amount IS DISTINCT FROM kp.amount)
    )
    UNION ALL
    SELECT id, 'what was posted is matched with another row'
    FROM (
        SELECT id, row_number() OVER (
            PARTITION BY book, other_source, other_id
            ORDER BY decided_by LIKE 'job %', decided_at DESC, id
        ) AS place
        FROM budget.matches_now WHERE state = 'confirmed'
    ) AS ranked
    WHERE place > 1
) AS w
WHERE m.id = w.id
