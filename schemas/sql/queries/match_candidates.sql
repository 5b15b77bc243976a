-- Rows of two accounts with one amount and currency, days near. Transfers tell no payee. What is
-- posted stands for what it was while pending. Rows of an amount come together.
WITH one AS MATERIALIZED (
    SELECT t.*, p.name AS payee FROM budget.transactions AS t
    LEFT JOIN budget.payees AS p ON p.book = t.book AND p.source = t.source AND p.id = t.payee_id
    WHERE NOT t.deleted AND t.book = $1 AND t.source = $2 AND t.account_id = $3 AND t.amount <> 0
        AND NOT EXISTS (SELECT FROM budget.posted_for_pending AS s WHERE s.book = t.book
            AND s.source = t.source AND s.pending_id = t.id AND t.pending)
), other AS MATERIALIZED (
    SELECT t.*, p.name AS payee FROM budget.transactions AS t
    LEFT JOIN budget.payees AS p ON p.book = t.book AND p.source = t.source AND p.id = t.payee_id
    WHERE NOT t.deleted AND t.book = $1 AND t.source = $4 AND t.account_id = $5 AND t.amount <> 0
        AND NOT EXISTS (SELECT FROM budget.posted_for_pending AS s WHERE s.book = t.book
            AND s.source = t.source AND s.pending_id = t.id AND t.pending)
)
SELECT a.amount, a.currency, a.id, b.id AS other_id, a.date, a.authorized_date, b.date AS other_date,
    b.authorized_date AS other_authorized_date,
    CASE WHEN a.transfer_account_id IS NULL THEN array_remove(ARRAY[a.payee, a.payee_name,
        a.import_payee_name, a.import_payee_name_original, a.merchant_name, a.name,
        a.original_description], NULL) ELSE '{}' END AS texts,
    CASE WHEN b.transfer_account_id IS NULL THEN array_remove(ARRAY[b.payee, b.payee_name,
        b.import_payee_name, b.import_payee_name_original, b.merchant_name, b.name,
        b.original_description], NULL) ELSE '{}' END AS other_texts
FROM one AS a
JOIN other AS b ON b.amount = a.amount AND b.currency = a.currency
WHERE least(abs(a.date - b.date), abs(a.date - b.authorized_date),
    abs(a.authorized_date - b.date)) <= $6
ORDER BY a.amount, a.currency, a.date, a.id, b.id
