-- What a job confirmed and what has changed since is a proposal again.
UPDATE budget.matches AS m
SET state = 'proposed', decided_by = NULL, decided_at = NULL
FROM budget.transactions AS k, budget.transactions AS t
WHERE m.state = 'confirmed' AND m.decided_by LIKE 'job %' AND m.reason ->> 'rule' <> 'pending'
    AND k.book = m.book AND k.source = m.source AND k.id = m.transaction_id AND NOT k.deleted
    AND t.book = m.book AND t.source = m.other_source AND t.id = m.other_id AND NOT t.deleted
    AND (k.amount <> t.amount OR k.currency IS DISTINCT FROM t.currency)
