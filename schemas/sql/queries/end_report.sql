UPDATE sync.validation_reports
SET finished_at = now(),
    transactions = (SELECT count(*) FROM budget.transactions WHERE NOT deleted),
    accounts = (SELECT count(*) FROM budget.accounts WHERE NOT deleted),
    found = coalesce((
        SELECT jsonb_object_agg(check_name, issues) FROM (
            SELECT check_name, count(*) AS issues FROM sync.validation_issues
            WHERE last_report = $1 GROUP BY 1
        ) AS counted
    ), '{}'),
    opened = (SELECT count(*) FROM sync.validation_issues
        WHERE first_report = $1 AND last_report = $1),
    closed = $2
WHERE id = $1
RETURNING transactions, accounts, found::text AS found, opened, closed
