-- Confirmed matches one of whose rows is deleted: they give way to what takes its place.
SELECT m.book, m.source, m.transaction_id, m.other_source, m.other_id
FROM budget.matches AS m
LEFT JOIN budget.transactions AS k
    ON k.book = m.book AND k.source = m.source AND k.id = m.transaction_id
LEFT JOIN budget.transactions AS t
    ON t.book = m.book AND t.source = m.other_source AND t.id = m.other_id
WHERE m.state = 'confirmed' AND m.reason ->> 'rule' IS DISTINCT FROM 'pending'
    AND (k.deleted IS NOT FALSE OR t.deleted IS NOT FALSE)
