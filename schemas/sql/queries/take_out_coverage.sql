DELETE FROM budget.coverage
WHERE book = $1 AND source = $2 AND account_id = $3 AND from_date <= $5 AND to_date >= $4
RETURNING from_date, to_date, state, detail
