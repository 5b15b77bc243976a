-- Live transactions whose property is null or not known: kept, in no account.
SELECT (
    SELECT count(*) FROM accounting.transactions WHERE property_id IS NULL AND NOT deleted
) + (
    SELECT coalesce(sum(t.transactions), 0)
    FROM accounting.account_totals AS t
    WHERE NOT EXISTS (
        SELECT FROM accounting.properties AS p
        WHERE p.book = t.book AND p.source = t.source AND p.id = t.property_id AND NOT p.deleted
    )
)::bigint
