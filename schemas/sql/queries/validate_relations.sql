-- What rows say of each other.
INSERT INTO pg_temp.findings
SELECT 3, 'relations', 'budget.transactions', t.book, t.source, t.id, 'subtransaction_ids',
    'its lines make ' || lines.amount || ', it is ' || t.amount,
    'cdc resync ' || t.source || ' --collection transactions'
FROM budget.transactions AS t
JOIN (
    SELECT book, source, transaction_id, sum(amount) AS amount
    FROM budget.subtransactions_live GROUP BY 1, 2, 3
) AS lines ON lines.book = t.book AND lines.source = t.source AND lines.transaction_id = t.id
WHERE NOT t.deleted AND lines.amount <> t.amount
UNION ALL
SELECT 2, 'relations', 'budget.transactions', t.book, t.source, t.id, 'payee_id',
    'its payee is not there', 'cdc resync ' || t.source || ' --collection payees'
FROM budget.transactions AS t
LEFT JOIN budget.payees AS p ON p.book = t.book AND p.source = t.source AND p.id = t.payee_id
WHERE NOT t.deleted AND t.payee_id IS NOT NULL AND p.id IS NULL
UNION ALL
SELECT 2, 'relations', 'budget.transactions', t.book, t.source, t.id, 'category_id',
    'its category is not there', 'cdc resync ' || t.source || ' --collection categories'
FROM budget.transactions AS t
LEFT JOIN budget.categories AS c
    ON c.book = t.book AND c.source = t.source AND c.id = t.category_id
WHERE NOT t.deleted AND t.category_id IS NOT NULL AND c.id IS NULL
UNION ALL
SELECT CASE WHEN o.amount <> -t.amount THEN 3 ELSE 2 END, 'relations', 'budget.transactions',
    t.book, t.source, t.id, 'transfer_transaction_id',
    CASE WHEN o.amount <> -t.amount
        THEN 'a transfer of ' || t.amount || ' whose other side is ' || o.amount
        ELSE 'the other side of this transfer is not there' END,
    'cdc resync ' || t.source || ' --collection transactions'
FROM budget.transactions AS t
LEFT JOIN budget.transactions AS o ON o.book = t.book AND o.source = t.source
    AND o.id = t.transfer_transaction_id AND NOT o.deleted
LEFT JOIN budget.subtransactions AS line ON line.book = t.book AND line.source = t.source
    AND line.id = t.transfer_transaction_id AND NOT line.deleted
WHERE NOT t.deleted AND t.transfer_transaction_id IS NOT NULL
    AND ((o.id IS NULL AND line.id IS NULL)
        OR (o.transfer_transaction_id = t.id AND o.amount <> -t.amount))
UNION ALL
SELECT 2, 'relations', 'budget.transactions', t.book, t.source, t.id, 'pending_transaction_id',
    'it is posted, and what it was while pending is still there',
    'cdc jobs run deduplicate; the source removes it with its next update'
FROM budget.transactions AS t
JOIN budget.transactions AS p ON p.book = t.book AND p.source = t.source
    AND p.id = t.pending_transaction_id AND NOT p.deleted
WHERE NOT t.deleted
UNION ALL
SELECT 2, 'relations', 'budget.matches', m.book, m.source, m.id::text, 'amount',
    'a confirmed match of ' || k.amount || ' and ' || t.amount,
    'correct the amount at its source, or cdc jobs run deduplicate --param reject=' || m.id
FROM budget.matches_now AS m
JOIN budget.transactions AS k
    ON k.book = m.book AND k.source = m.source AND k.id = m.transaction_id AND NOT k.deleted
JOIN budget.transactions AS t
    ON t.book = m.book AND t.source = m.other_source AND t.id = m.other_id AND NOT t.deleted
WHERE m.state = 'confirmed' AND k.pending IS NOT TRUE AND t.pending IS NOT TRUE
    AND (k.amount <> t.amount OR k.currency <> t.currency)
