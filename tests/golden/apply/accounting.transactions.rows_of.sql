SELECT *
FROM accounting.transactions
WHERE id = $1 AND ($2::text IS NULL OR source = $2)
ORDER BY book, source
