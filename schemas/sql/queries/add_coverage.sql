INSERT INTO budget.coverage
    (book, source, account_id, from_date, to_date, state, transactions, first_date, detail)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
