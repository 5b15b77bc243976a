-- A new pair, or one that was only proposed; what a person decided is left alone. The plan's row is
-- kept before the bank's, and what is posted before what is pending.
INSERT INTO budget.matches AS m (book, source, transaction_id, other_source, other_id, score,
    reason, state, decided_by, decided_at)
SELECT $1, ends[1], ends[2], ends[3], ends[4], $6::text::numeric, $7::text::jsonb, $8,
    $9, CASE WHEN $8 = 'confirmed' THEN now() END
FROM (
    SELECT CASE WHEN (ab.kind IS NOT DISTINCT FROM 'plan', a.pending IS NOT TRUE, b.source, b.id)
            >= (bb.kind IS NOT DISTINCT FROM 'plan', b.pending IS NOT TRUE, a.source, a.id)
        THEN ARRAY[a.source, a.id, b.source, b.id] ELSE ARRAY[b.source, b.id, a.source, a.id]
        END AS ends
    FROM budget.transactions AS a
    JOIN budget.transactions AS b ON b.book = a.book AND b.source = $4 AND b.id = $5
    LEFT JOIN budget.budgets AS ab
        ON ab.book = a.book AND ab.source = a.source AND ab.id = a.budget_id
    LEFT JOIN budget.budgets AS bb
        ON bb.book = b.book AND bb.source = b.source AND bb.id = b.budget_id
    WHERE a.book = $1 AND a.source = $2 AND a.id = $3
) AS ordered
ON CONFLICT (book, least(source || '/' || transaction_id, other_source || '/' || other_id),
    greatest(source || '/' || transaction_id, other_source || '/' || other_id)) DO UPDATE
SET source = excluded.source, transaction_id = excluded.transaction_id,
    other_source = excluded.other_source, other_id = excluded.other_id,
    score = excluded.score, reason = excluded.reason, state = excluded.state,
    decided_by = excluded.decided_by, decided_at = excluded.decided_at
WHERE m.state = 'proposed'
