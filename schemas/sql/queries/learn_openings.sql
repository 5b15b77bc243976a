-- Of bank accounts that are seen for the first time: what their history does not explain.
INSERT INTO sync.validation_openings (book, source, account_id, from_date, opening)
SELECT a.book, a.source, a.id, min(t.date),
    a.balance - coalesce(sum(t.amount) FILTER (WHERE t.pending IS NOT TRUE), 0)
FROM budget.accounts AS a
JOIN budget.budgets AS b
    ON b.book = a.book AND b.source = a.source AND b.id = a.budget_id AND b.kind = 'item'
JOIN budget.transactions AS t
    ON t.book = a.book AND t.source = a.source AND t.account_id = a.id AND NOT t.deleted
    AND coalesce(t.currency, t.unofficial_currency)
        IS NOT DISTINCT FROM coalesce(a.currency, a.unofficial_currency)
WHERE NOT a.deleted AND a.balance IS NOT NULL AND NOT EXISTS (
    SELECT FROM sync.validation_openings AS o
    WHERE o.book = a.book AND o.source = a.source AND o.account_id = a.id
)
GROUP BY a.book, a.source, a.id
ORDER BY 1, 2, 3
ON CONFLICT (book, source, account_id) DO NOTHING
