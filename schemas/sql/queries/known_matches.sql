-- Decided pairs of two accounts (between), and what of either is left out for some other row.
-- A confirmed pair is one only while both of its rows live.
SELECT m.source, m.transaction_id, m.other_source, m.other_id, m.state,
    (m.source, k.account_id, m.other_source, t.account_id)
        IN (($2, $3, $4, $5), ($4, $5, $2, $3)) AS between
FROM budget.matches_now AS m
JOIN budget.transactions AS k
    ON k.book = m.book AND k.source = m.source AND k.id = m.transaction_id AND NOT k.deleted
JOIN budget.transactions AS t
    ON t.book = m.book AND t.source = m.other_source AND t.id = m.other_id AND NOT t.deleted
WHERE m.book = $1 AND m.state <> 'proposed' AND (
    (m.source, k.account_id, m.other_source, t.account_id) IN (($2, $3, $4, $5), ($4, $5, $2, $3))
    OR (m.state = 'confirmed' AND (m.other_source, t.account_id) IN (($2, $3), ($4, $5)))
)
