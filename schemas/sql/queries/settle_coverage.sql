-- Days without a row: the bank does not have them where they lie before all that it told ($4;
-- null: it told nothing). An older row that turns up later makes them fetched ones.
UPDATE budget.coverage
SET state = CASE WHEN $4::date IS NULL OR to_date < $4 THEN 'not_available' ELSE 'fetched' END,
    detail = CASE WHEN $4::date IS NULL THEN 'nothing is told'
        WHEN to_date < $4 THEN 'nothing before ' || $4::text || ' is told' END
WHERE book = $1 AND source = $2 AND account_id = ANY ($3::text[])
    AND state IN ('fetched', 'not_available') AND transactions = 0
