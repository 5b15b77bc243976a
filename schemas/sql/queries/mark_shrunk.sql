UPDATE budget.coverage SET state = 'shrunk'
WHERE book = $1 AND source = $2 AND account_id = $3 AND from_date = $4 AND state = 'fetched'
