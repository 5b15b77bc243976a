-- Fields that a figure needs. (Id, account, amount and date of a live row the table itself holds.)
INSERT INTO pg_temp.findings
SELECT f.severity, 'missing_fields', 'budget.transactions', t.book, t.source, t.id, f.field,
    f.reason, f.resolve
FROM budget.transactions AS t
CROSS JOIN LATERAL (VALUES
    (3, 'transaction_hash', 'it has no hash', 'cdc replay the topic of budget.transactions',
        t.transaction_hash IS NULL),
    (2, 'currency', 'it has no currency, so it is in no sum',
        'cdc resync ' || t.source || '; else the source does not tell it',
        t.currency IS NULL AND t.unofficial_currency IS NULL),
    (1, 'payee_name', 'nobody was paid', 'name the payee at the source',
        t.payee_id IS NULL AND t.payee_name IS NULL AND t.name IS NULL
        AND t.transfer_account_id IS NULL)
) AS f (severity, field, reason, resolve, missing)
WHERE NOT t.deleted AND f.missing
    AND (t.transaction_hash IS NULL OR t.currency IS NULL OR t.payee_id IS NULL)
UNION ALL
SELECT 1, 'missing_fields', 'budget.transactions', t.book, t.source, t.id, 'category_id',
    'it has no category', 'give it one at the source'
FROM budget.transactions AS t
JOIN budget.accounts AS a
    ON a.book = t.book AND a.source = t.source AND a.id = t.account_id AND a.on_budget
WHERE NOT t.deleted AND t.category_id IS NULL AND t.transfer_account_id IS NULL
    AND coalesce(t.subtransaction_ids, '[]') = '[]'
UNION ALL
SELECT 2, 'missing_fields', 'budget.accounts', book, source, id, 'balance',
    'it has no balance, so nothing can be held against it', 'cdc resync ' || source
FROM budget.accounts
WHERE NOT deleted AND balance IS NULL
UNION ALL
SELECT 2, 'missing_fields', 'budget.accounts', book, source, id, 'currency',
    'it has no currency', 'cdc resync ' || source
FROM budget.accounts
WHERE NOT deleted AND currency IS NULL AND unofficial_currency IS NULL
