-- Fetched days of which the table now holds fewer rows than were told. Only what the consumer
-- has surely brought: rows that are still on their way have not been lost.
SELECT c.book, c.account_id, c.from_date, c.to_date
FROM budget.coverage AS c
WHERE c.source = $1 AND c.state = 'fetched' AND c.transactions > 0
    AND c.fetched_at + interval '1 minute' < (
        SELECT min(o.updated_at) FROM sync.offsets AS o
        WHERE o.topic LIKE '%.budget.transactions'
    )
    AND c.transactions > (
        SELECT count(*) FROM budget.transactions AS t
        WHERE t.book = c.book AND t.source = c.source AND t.account_id = c.account_id
            AND t.date BETWEEN c.from_date AND c.to_date AND NOT t.deleted
    )
