-- $4: the oldest day of the feed's history. The days before it in the row that holds it.
WITH held AS (
    UPDATE budget.coverage SET from_date = $4
    FROM budget.coverage AS old
    WHERE coverage.book = $1 AND coverage.source = $2 AND coverage.account_id = ANY ($3::text[])
        AND coverage.state = 'fetched' AND coverage.from_date < $4 AND coverage.to_date >= $4
        AND old.book = coverage.book AND old.source = coverage.source
        AND old.account_id = coverage.account_id AND old.from_date = coverage.from_date
    RETURNING coverage.account_id, old.from_date
)
INSERT INTO budget.coverage (book, source, account_id, from_date, to_date, state)
SELECT $1, $2, account_id, from_date, $4::date - 1, 'fetched' FROM held
