-- Live transactions in another currency than their property's: kept, in no account.
SELECT coalesce(sum(t.transactions), 0)::bigint
FROM accounting.account_totals AS t
JOIN accounting.properties AS p
    ON p.book = t.book AND p.source = t.source AND p.id = t.property_id
WHERE NOT p.deleted AND t.currency <> coalesce(upper(p.currency), 'USD')
