-- Decided pairs of two accounts, and whatever of either is left out for some other row.
SELECT m.source, m.transaction_id, m.other_source, m.other_id, m.state
FROM budget.matches AS m
JOIN budget.transactions AS k
    ON k.book = m.book AND k.source = m.source AND k.id = m.transaction_id
JOIN budget.transactions AS t
    ON t.book = m.book AND t.source = m.other_source AND t.id = m.other_id
WHERE m.book = $1 AND m.state <> 'proposed' AND (
    (m.source, k.account_id, m.other_source, t.account_id) IN (($2, $3, $4, $5), ($4, $5, $2, $3))
    OR (m.state = 'confirmed' AND (m.other_source, t.account_id) IN (($2, $3), ($4, $5)))
)
