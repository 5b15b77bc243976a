SELECT book, source, transaction_id, other_source, other_id
FROM budget.matches WHERE id = ANY ($1::bigint[])
