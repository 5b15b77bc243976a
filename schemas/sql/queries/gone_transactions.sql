-- What live polling has seen go: no older answer may bring it back.
SELECT id FROM budget.transactions
WHERE book = $1 AND source = $2 AND account_id = ANY ($3::text[])
    AND date BETWEEN $4 AND $5 AND deleted
