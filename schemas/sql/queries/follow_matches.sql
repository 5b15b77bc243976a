-- Matches of what was pending are those of what was posted, whoever decided them.
UPDATE budget.matches AS m
SET transaction_id = n.transaction_id, other_id = n.other_id, reason = m.reason
    || jsonb_build_object('was_pending',
        CASE WHEN m.other_id <> n.other_id THEN m.other_id ELSE m.transaction_id END)
FROM budget.matches_now AS n
WHERE n.id = m.id AND (m.transaction_id, m.other_id) <> (n.transaction_id, n.other_id)
