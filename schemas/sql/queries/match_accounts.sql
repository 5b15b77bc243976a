-- Accounts of different feeds of a book that may be one: amounts that each has only once, days near.
WITH once AS MATERIALIZED (
    SELECT book, source, budget_id, account_id, amount, currency, min(date) AS date
    FROM budget.transactions
    WHERE NOT deleted AND amount <> 0 AND currency IS NOT NULL
    GROUP BY 1, 2, 3, 4, 5, 6
    HAVING count(*) = 1
), voted AS (
    SELECT a.book, a.source, a.budget_id AS feed, a.account_id AS account,
        b.source AS other_source, b.budget_id AS other_feed, b.account_id AS other_account,
        count(*) AS votes
    FROM once AS a
    JOIN once AS b ON b.book = a.book AND b.amount = a.amount AND b.currency = a.currency
        AND (a.source, a.budget_id) < (b.source, b.budget_id)
        AND b.date BETWEEN a.date - $1::int AND a.date + $1::int
    GROUP BY 1, 2, 3, 4, 5, 6, 7
), told AS (
    SELECT a.book, a.source, a.budget_id AS feed, a.id AS account,
        b.source AS other_source, b.budget_id AS other_feed, b.id AS other_account, true AS is_told
    FROM budget.accounts AS a
    JOIN budget.accounts AS b ON b.book = a.book
        AND (a.source, a.budget_id) < (b.source, b.budget_id)
        AND a.currency IS NOT DISTINCT FROM b.currency
        AND (a.persistent_account_id = b.persistent_account_id
            OR (a.mask IS NULL AND length(b.mask) >= 4 AND strpos(a.name, b.mask) > 0)
            OR (b.mask IS NULL AND length(a.mask) >= 4 AND strpos(b.name, a.mask) > 0)
            OR (a.mask IS NOT DISTINCT FROM b.mask AND lower(a.name) = lower(b.name)))
    WHERE NOT a.deleted AND NOT b.deleted
)
SELECT book, source, feed, account, other_source, other_feed, other_account,
    coalesce(v.votes, 0) AS votes, t.is_told IS TRUE AS told
FROM voted AS v
FULL JOIN told AS t
    USING (book, source, feed, account, other_source, other_feed, other_account)
ORDER BY 1, 2, 4, 5, 7
