INSERT INTO sync.dead_letters AS d
    (book, source, entity, stage, subject, mapping, collection, document_id, row_id, common_id,
    topic, partition, "offset", key, value, headers, path, reason, detail, version, attempts)
SELECT p.book, p.source, p.entity, p.stage, p.subject, p.mapping, p.collection, p.document_id,
    p.row_id, p.common_id, p.topic, p.partition, p.at, p.key, p.value, p.headers::jsonb, p.path,
    p.reason, p.detail, p.version, p.attempts
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
    $8::text[], $9::text[], $10::text[], $11::text[], $12::integer[], $13::bigint[],
    $14::bytea[], $15::bytea[], $16::text[], $17::text[], $18::text[], $19::text[], $20::bytea[],
    $21::integer[])
    AS p (book, source, entity, stage, subject, mapping, collection, document_id, row_id,
        common_id, topic, partition, at, key, value, headers, path, reason, detail, version,
        attempts)
ORDER BY 1, 2, 3, 4, 5, 6
ON CONFLICT (book, source, entity, stage, subject, mapping) DO UPDATE
SET collection = excluded.collection, document_id = excluded.document_id,
    row_id = excluded.row_id, common_id = excluded.common_id, topic = excluded.topic, partition = excluded.partition,
    "offset" = excluded."offset", key = excluded.key, value = excluded.value,
    headers = excluded.headers, path = excluded.path, reason = excluded.reason,
    detail = excluded.detail, version = excluded.version,
    attempts = d.attempts + excluded.attempts, last_seen = now(),
    resolved_at = CASE WHEN excluded.version > d.version THEN NULL ELSE d.resolved_at END
WHERE excluded.version >= d.version
