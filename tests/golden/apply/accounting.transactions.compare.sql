SELECT count(*) FILTER (WHERE t.id IS NULL) AS inserted,
    count(*) FILTER (WHERE s.version > t.version) AS updated,
    count(*) FILTER (WHERE s.version = t.version AND (t.property_id, t.type, t.amount, t.currency, t.date, t.description, t.status, t.settled, t.payment_method, t.reference, t.transaction_hash, t.deleted) IS DISTINCT FROM (s.property_id, s.type, s.amount, s.currency, s.date, s.description, s.status, s.settled, s.payment_method, s.reference, s.transaction_hash, s.deleted))
        AS healed
FROM (
    SELECT s.book AS book, s.source AS source, s.id AS id, s.property_id::text AS property_id, s.type::text AS type, s.amount::numeric AS amount, s.currency::text AS currency, s.date::date AS date, s.description::text AS description, s.status::text AS status, s.settled::boolean AS settled, s.payment_method::text AS payment_method, s.reference::text AS reference, decode(s.transaction_hash, 'hex') AS transaction_hash, s.deleted::boolean AS deleted, decode(s.version, 'hex') AS version, to_timestamp(s.source_ms::float8 / 1000) AS source_time, $1 AS topic, s.partition::integer AS partition, s."offset"::bigint AS "offset", now() AS applied_at
    FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[], $18::text[], $19::text[], $20::text[])
    AS s ("book", "source", "id", "property_id", "type", "amount", "currency", "date", "description", "status", "settled", "payment_method", "reference", "transaction_hash", "deleted", "version", "source_ms", "partition", "offset")
) AS s
LEFT JOIN accounting.transactions AS t
    ON t.book = s.book AND t.source = s.source AND t.id = s.id
