SELECT account_id, count(*) AS transactions, min(date) AS first_date
FROM budget.transactions
WHERE book = $1 AND source = $2 AND account_id = ANY ($3::text[])
    AND date BETWEEN $4 AND $5 AND NOT deleted
GROUP BY account_id
