-- A bank's purchase becomes another row, of another id, when it is posted. Matches follow it.

CREATE INDEX transactions_by_pending
    ON budget.transactions (book, source, pending_transaction_id, id)
    WHERE NOT deleted AND pending_transaction_id IS NOT NULL;

CREATE INDEX matches_kept ON budget.matches (book, source, transaction_id)
    WHERE state = 'confirmed';
CREATE INDEX matches_rejected ON budget.matches (book, source, transaction_id, other_id)
    WHERE state = 'rejected';

-- The live row that stands for what was pending: one at most, none where a person said that they
-- are two purchases.
CREATE VIEW budget.posted_for_pending AS
SELECT DISTINCT ON (t.book, t.source, t.pending_transaction_id)
    t.book, t.source, t.pending_transaction_id AS pending_id, t.id
FROM budget.transactions AS t
WHERE NOT t.deleted AND t.pending_transaction_id IS NOT NULL AND t.pending IS NOT TRUE
    AND NOT EXISTS (
        SELECT FROM budget.matches AS m
        WHERE m.state = 'rejected' AND m.book = t.book
            AND m.source = t.source AND m.transaction_id = t.id
            AND m.other_source = t.source AND m.other_id = t.pending_transaction_id
    )
ORDER BY t.book, t.source, t.pending_transaction_id, t.id;

-- Matches over feeds by the rows that stand for their ends now. (What was pending and what was
-- posted are one by the view above; their own match only makes that visible, and can undo it.)
-- By look-ups in indexes: as fast while no statistics of new rows are there.
CREATE VIEW budget.matches_now AS
SELECT m.id, m.book, m.source, coalesce(k.id, m.transaction_id) AS transaction_id,
    m.other_source, coalesce(o.id, m.other_id) AS other_id, m.score, m.reason, m.state,
    m.decided_by, m.decided_at
FROM budget.matches AS m
LEFT JOIN LATERAL (
    SELECT p.id FROM budget.posted_for_pending AS p
    WHERE p.book = m.book AND p.source = m.source AND p.pending_id = m.transaction_id
    LIMIT 1
) AS k ON true
LEFT JOIN LATERAL (
    SELECT p.id FROM budget.posted_for_pending AS p
    WHERE p.book = m.book AND p.source = m.other_source AND p.pending_id = m.other_id
    LIMIT 1
) AS o ON true
WHERE m.reason ->> 'rule' IS DISTINCT FROM 'pending'
    AND (m.source, coalesce(k.id, m.transaction_id))
        <> (m.other_source, coalesce(o.id, m.other_id));

-- Between two runs of the job, too, a purchase counts once: whatever is posted, removed, or back.
-- Left out: what was pending and is posted; the other row of a match whose kept row lives; and what
-- such another row was posted as. (Of a hold that is posted as two, one.)
CREATE OR REPLACE VIEW budget.transactions_once AS
SELECT t.*
FROM budget.transactions AS t
WHERE NOT t.deleted
    AND (t.pending IS NOT TRUE OR NOT EXISTS (
        SELECT FROM budget.posted_for_pending AS p
        WHERE p.book = t.book AND p.source = t.source AND p.pending_id = t.id
    ))
    AND NOT EXISTS (
        SELECT FROM budget.matches AS m
        WHERE m.state = 'confirmed' AND m.reason ->> 'rule' IS DISTINCT FROM 'pending'
            AND m.book = t.book AND m.other_source = t.source AND m.other_id = t.id
            AND (
                EXISTS (
                    SELECT FROM budget.transactions AS k WHERE k.book = m.book
                        AND k.source = m.source AND k.id = m.transaction_id AND NOT k.deleted
                )
                OR EXISTS (
                    SELECT FROM budget.posted_for_pending AS k WHERE k.book = m.book
                        AND k.source = m.source AND k.pending_id = m.transaction_id
                )
            )
    )
    AND (t.pending_transaction_id IS NULL OR NOT EXISTS (
        SELECT FROM budget.matches AS m
        WHERE m.state = 'confirmed' AND m.reason ->> 'rule' IS DISTINCT FROM 'pending'
            AND m.book = t.book AND m.other_source = t.source
            AND m.other_id = t.pending_transaction_id
            AND (m.source, m.transaction_id) <> (t.source, t.id)
            AND t.id = (
                SELECT p.id FROM budget.posted_for_pending AS p
                WHERE p.book = m.book AND p.source = m.other_source AND p.pending_id = m.other_id
            )
            AND (
                EXISTS (
                    SELECT FROM budget.transactions AS k WHERE k.book = m.book
                        AND k.source = m.source AND k.id = m.transaction_id AND NOT k.deleted
                )
                OR EXISTS (
                    SELECT FROM budget.posted_for_pending AS k WHERE k.book = m.book
                        AND k.source = m.source AND k.pending_id = m.transaction_id
                )
            )
    ));
