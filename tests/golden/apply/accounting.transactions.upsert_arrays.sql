INSERT INTO accounting.transactions AS t (book, source, id, property_id, type, amount, currency, date, description, status, settled, payment_method, reference, transaction_hash, deleted, version, source_time, topic, partition, "offset", applied_at)
SELECT s.book, s.source, s.id, s.property_id::text, s.type::text, s.amount::numeric, s.currency::text, s.date::date, s.description::text, s.status::text, s.settled::boolean, s.payment_method::text, s.reference::text, decode(s.transaction_hash, 'hex'), s.deleted::boolean, decode(s.version, 'hex'), to_timestamp(s.source_ms::float8 / 1000), $1, s.partition::integer, s."offset"::bigint, now()
FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[], $18::text[], $19::text[], $20::text[])
    AS s ("book", "source", "id", "property_id", "type", "amount", "currency", "date", "description", "status", "settled", "payment_method", "reference", "transaction_hash", "deleted", "version", "source_ms", "partition", "offset")
ON CONFLICT (book, source, id) DO UPDATE SET
    property_id = excluded.property_id,
    type = excluded.type,
    amount = excluded.amount,
    currency = excluded.currency,
    date = excluded.date,
    description = excluded.description,
    status = excluded.status,
    settled = excluded.settled,
    payment_method = excluded.payment_method,
    reference = excluded.reference,
    transaction_hash = excluded.transaction_hash,
    deleted = excluded.deleted,
    version = excluded.version,
    source_time = excluded.source_time,
    topic = excluded.topic,
    partition = excluded.partition,
    "offset" = excluded."offset",
    applied_at = excluded.applied_at
WHERE excluded.version > t.version
