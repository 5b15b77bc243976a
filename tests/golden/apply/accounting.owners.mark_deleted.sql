INSERT INTO accounting.owners AS t (book, source, id, deleted, version, source_time, topic, partition, "offset", applied_at)
SELECT s.book, s.source, s.id, s.deleted::boolean, decode(s.version, 'hex'), to_timestamp(s.source_ms::float8 / 1000), $1, s.partition::integer, s."offset"::bigint, now()
FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[])
    AS s ("book", "source", "id", "name", "email", "phone", "role", "deleted", "version", "source_ms", "partition", "offset")
ON CONFLICT (book, source, id) DO UPDATE SET
    deleted = excluded.deleted,
    version = excluded.version,
    source_time = excluded.source_time,
    topic = excluded.topic,
    partition = excluded.partition,
    "offset" = excluded."offset",
    applied_at = excluded.applied_at
WHERE excluded.version > t.version
