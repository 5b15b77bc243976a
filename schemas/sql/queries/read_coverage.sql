SELECT book, account_id, from_date, to_date, state, transactions, first_date, detail
FROM budget.coverage
WHERE source = $1
ORDER BY account_id, from_date
