-- Rows whose owner, the row they live in, is not there.
INSERT INTO pg_temp.findings
SELECT CASE WHEN a.id IS NULL THEN 3 ELSE 2 END, 'orphans', 'budget.transactions',
    t.book, t.source, t.id, 'account_id',
    CASE WHEN a.id IS NULL THEN 'its account is not there' ELSE 'its account is deleted' END,
    'cdc resync ' || t.source || ': both are read again'
FROM budget.transactions AS t
LEFT JOIN budget.accounts AS a
    ON a.book = t.book AND a.source = t.source AND a.id = t.account_id
WHERE NOT t.deleted AND a.deleted IS NOT FALSE
UNION ALL
SELECT 3, 'orphans', 'budget.subtransactions', s.book, s.source, s.id, 'transaction_id',
    'the transaction it is a line of is not there',
    'cdc resync ' || s.source || ' --collection transactions'
FROM budget.subtransactions AS s
LEFT JOIN budget.transactions AS t
    ON t.book = s.book AND t.source = s.source AND t.id = s.transaction_id
WHERE NOT s.deleted AND t.id IS NULL
UNION ALL
SELECT 2, 'orphans', 'budget.accounts', a.book, a.source, a.id, 'budget_id',
    'its plan or item is not there', 'cdc resync ' || a.source
FROM budget.accounts AS a
LEFT JOIN budget.budgets AS b
    ON b.book = a.book AND b.source = a.source AND b.id = a.budget_id
WHERE NOT a.deleted AND b.id IS NULL
UNION ALL
SELECT 2, 'orphans', 'budget.categories', c.book, c.source, c.id, 'category_group_id',
    'its group is not there', 'cdc resync ' || c.source
FROM budget.categories AS c
LEFT JOIN budget.category_groups AS g
    ON g.book = c.book AND g.source = c.source AND g.id = c.category_group_id
WHERE NOT c.deleted AND c.category_group_id IS NOT NULL AND g.id IS NULL
UNION ALL
SELECT 2, 'orphans', 'budget.scheduled_transactions', s.book, s.source, s.id, 'account_id',
    'its account is not there', 'cdc resync ' || s.source
FROM budget.scheduled_transactions AS s
LEFT JOIN budget.accounts AS a
    ON a.book = s.book AND a.source = s.source AND a.id = s.account_id
WHERE NOT s.deleted AND a.id IS NULL
UNION ALL
SELECT 1, 'orphans', 'budget.balances', h.book, h.source, h.id, 'account_id',
    'its account is not there', 'nothing is wrong with today''s figures: it is history'
FROM budget.balances AS h
LEFT JOIN budget.accounts AS a
    ON a.book = h.book AND a.source = h.source AND a.id = h.account_id
WHERE NOT h.deleted AND a.id IS NULL
