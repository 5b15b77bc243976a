-- Before a pair is confirmed: matches of either row with another row of the same account give way,
-- where a job confirmed them, or where one of their rows is deleted.
UPDATE budget.matches AS m
SET state = 'proposed', decided_by = NULL, decided_at = NULL, reason = m.reason
    || jsonb_build_object('withdrawn', 'another row took its place', 'confirmed_by', m.decided_by)
FROM budget.matches AS old
LEFT JOIN budget.transactions AS k
    ON k.book = old.book AND k.source = old.source AND k.id = old.transaction_id
LEFT JOIN budget.transactions AS t
    ON t.book = old.book AND t.source = old.other_source AND t.id = old.other_id
WHERE m.id = old.id AND old.book = $1 AND old.state = 'confirmed'
    AND (old.decided_by LIKE 'job %' OR k.deleted IS NOT FALSE OR t.deleted IS NOT FALSE)
    AND (
        (old.source, old.transaction_id) IN (($2, $3), ($4, $5))
        OR (old.other_source, old.other_id) IN (($2, $3), ($4, $5))
    )
    AND NOT (
        (old.source, old.transaction_id) IN (($2, $3), ($4, $5))
        AND (old.other_source, old.other_id) IN (($2, $3), ($4, $5))
    )
    AND (
        (old.other_source, old.other_id) IN (($2, $3), ($4, $5))
        OR EXISTS (
            SELECT FROM budget.transactions AS f
            WHERE f.book = $1 AND (f.source, f.id) IN (($2, $3), ($4, $5))
                AND (f.source, f.id) <> (old.source, old.transaction_id)
                AND f.source = t.source AND f.account_id = t.account_id
        )
    )
