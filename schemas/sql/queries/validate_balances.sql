-- opening + what was posted = balance, to the cent, with pending apart; only one currency is added.
INSERT INTO pg_temp.findings
WITH sums AS MATERIALIZED (
    SELECT t.book, t.source, t.account_id, coalesce(t.currency, t.unofficial_currency) AS currency,
        t.date >= coalesce(o.from_date, '-infinity') AS counted,
        coalesce(sum(t.amount) FILTER (WHERE t.pending IS NOT TRUE), 0) AS posted,
        coalesce(sum(t.amount) FILTER (WHERE t.pending), 0) AS pending,
        coalesce(sum(t.amount) FILTER (WHERE t.cleared IN ('cleared', 'reconciled')), 0) AS cleared,
        count(*) AS transactions
    FROM budget.transactions AS t
    LEFT JOIN sync.validation_openings AS o
        ON o.book = t.book AND o.source = t.source AND o.account_id = t.account_id
    WHERE NOT t.deleted
    GROUP BY 1, 2, 3, 4, 5
), held AS MATERIALIZED (
    SELECT a.book, a.source, a.id, a.balance, a.cleared_balance, o.account_id AS learned,
        b.kind, coalesce(o.opening, 0) AS opening,
        coalesce(s.posted, 0) AS posted, coalesce(s.pending, 0) AS pending,
        coalesce(s.cleared, 0) AS cleared
    FROM budget.accounts AS a
    LEFT JOIN budget.budgets AS b
        ON b.book = a.book AND b.source = a.source AND b.id = a.budget_id
    LEFT JOIN sync.validation_openings AS o
        ON o.book = a.book AND o.source = a.source AND o.account_id = a.id
    LEFT JOIN sums AS s ON s.book = a.book AND s.source = a.source AND s.account_id = a.id
        AND s.counted
        AND s.currency IS NOT DISTINCT FROM coalesce(a.currency, a.unofficial_currency)
    WHERE NOT a.deleted AND a.balance IS NOT NULL
)
SELECT CASE WHEN balance - opening - posted = pending THEN 2 ELSE 3 END,
    'balances', 'budget.accounts', book, source, id, 'balance',
    'the source says ' || balance || ', the opening ' || opening || ' and transactions of '
        || posted || ' make ' || opening + posted || ': a difference of '
        || balance - opening - posted
        || CASE WHEN pending <> 0 THEN ' (pending: ' || pending || ')' ELSE '' END,
    'cdc resync ' || source || '; a source that is read from a day on (since_date) has no opening'
FROM held
WHERE balance <> opening + posted AND (learned IS NOT NULL OR kind IS DISTINCT FROM 'item')
UNION ALL
SELECT 1, 'balances', 'budget.accounts', book, source, id, 'cleared_balance',
    'the source says ' || cleared_balance || ' is cleared, its transactions make ' || cleared,
    'cdc resync ' || source
FROM held
WHERE cleared_balance <> cleared AND kind IS DISTINCT FROM 'item'
UNION ALL
SELECT 2, 'balances', 'budget.accounts', a.book, a.source, a.id, 'currency',
    s.transactions || ' transactions in ' || coalesce(s.currency, 'no currency')
        || ' are in no sum of this account', 'look at the account at the source'
FROM sums AS s
JOIN budget.accounts AS a
    ON a.book = s.book AND a.source = s.source AND a.id = s.account_id AND NOT a.deleted
WHERE s.currency IS DISTINCT FROM coalesce(a.currency, a.unofficial_currency)
