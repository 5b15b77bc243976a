-- A hash holds the row's id, so two rows of one hash are damage; equal content only may be.
INSERT INTO pg_temp.findings
SELECT 3, 'duplicate_hashes', 'budget.transactions', t.book, t.source, t.id, 'transaction_hash',
    'another live row has its hash', 'cdc replay the topic of budget.transactions'
FROM budget.transactions AS t
JOIN (
    SELECT transaction_hash FROM budget.transactions
    WHERE NOT deleted AND transaction_hash IS NOT NULL
    GROUP BY 1 HAVING count(*) > 1
) AS twice ON twice.transaction_hash = t.transaction_hash
WHERE NOT t.deleted
UNION ALL
SELECT 2, 'duplicate_hashes', 'budget.transactions', t.book, t.source, t.id, 'import_id',
    'imported more than once: another live row of its account has its import_id',
    'delete one of them at the source'
FROM budget.transactions AS t
JOIN (
    SELECT book, source, account_id, import_id FROM budget.transactions
    WHERE NOT deleted AND import_id IS NOT NULL
    GROUP BY 1, 2, 3, 4 HAVING count(*) > 1
) AS twice ON twice.book = t.book AND twice.source = t.source
    AND twice.account_id = t.account_id AND twice.import_id = t.import_id
WHERE NOT t.deleted
UNION ALL
SELECT 1, 'duplicate_hashes', 'budget.transactions', book, source, max(id), 'content',
    count(*) || ' live rows have its account, amount, date and payee',
    'two real, equal purchases on one day are legal: look, and leave them if they are'
FROM budget.transactions
WHERE NOT deleted
GROUP BY book, source, account_id, amount, currency, date, payee_id, payee_name
HAVING count(*) > 1
