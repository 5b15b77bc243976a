-- Backfill: days of history asked of a source's owner, and what is known of each account's days.

ALTER TABLE sync.requests DROP CONSTRAINT requests_kind_check;
ALTER TABLE sync.requests ADD CONSTRAINT requests_kind_check
    CHECK (kind IN ('resync', 'retry', 'window'));
CREATE INDEX requests_by_asker ON sync.requests (requested_by, id);

-- Rows of an account never overlap. fetched: asked for, and transactions of them were told.
-- shrunk: fetched, and fewer rows stand in the table than were told. first_date: the oldest told.
ALTER TABLE budget.coverage DROP CONSTRAINT coverage_state_check;
ALTER TABLE budget.coverage ADD CONSTRAINT coverage_state_check
    CHECK (state IN ('fetched', 'shrunk', 'failed', 'not_available'));
ALTER TABLE budget.coverage ADD COLUMN first_date date;

-- An account's history in one line. gaps: days between its oldest and newest day that are not
-- fetched; days that the bank does not have are no gap.
CREATE VIEW budget.account_history AS
SELECT book, source, account_id,
    min(from_date) FILTER (WHERE state = 'fetched') AS fetched_from,
    max(to_date) FILTER (WHERE state = 'fetched') AS fetched_to,
    sum(transactions) FILTER (WHERE state = 'fetched')::bigint AS transactions,
    max(to_date) FILTER (WHERE state = 'not_available') AS not_available_to,
    datemultirange(daterange(min(from_date), max(to_date), '[]'))
    - coalesce(
        range_agg(daterange(from_date, to_date, '[]'))
            FILTER (WHERE state IN ('fetched', 'not_available')),
        datemultirange()
    ) AS gaps,
    max(detail) FILTER (WHERE state = 'failed') AS last_error,
    max(fetched_at) AS asked_at
FROM budget.coverage
GROUP BY book, source, account_id;
