-- Accounts of a source, with the stream that brings them: an item's by its name, a plan's by its id.
SELECT a.book, a.id, coalesce(a.name, a.id) AS name, b.kind, b.id AS feed, b.first_month,
    CASE b.kind WHEN 'item' THEN b.name ELSE b.id END AS stream
FROM budget.accounts AS a
JOIN budget.budgets AS b
    ON b.book = a.book AND b.source = a.source AND b.id = a.budget_id AND NOT b.deleted
WHERE a.source = $1 AND NOT a.deleted AND ($2::text IS NULL OR a.id = $2)
ORDER BY b.id, a.id
