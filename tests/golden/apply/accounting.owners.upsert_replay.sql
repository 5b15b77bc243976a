INSERT INTO accounting.owners AS t (book, source, id, name, email, phone, role, deleted, version, source_time, topic, partition, "offset", applied_at)
SELECT s.book, s.source, s.id, s.name::text, s.email::text, s.phone::text, s.role::text, s.deleted::boolean, decode(s.version, 'hex'), to_timestamp(s.source_ms::float8 / 1000), $1, s.partition::integer, s."offset"::bigint, now()
FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[])
    AS s ("book", "source", "id", "name", "email", "phone", "role", "deleted", "version", "source_ms", "partition", "offset")
ON CONFLICT (book, source, id) DO UPDATE SET
    name = excluded.name,
    email = excluded.email,
    phone = excluded.phone,
    role = excluded.role,
    deleted = excluded.deleted,
    version = excluded.version,
    source_time = excluded.source_time,
    topic = excluded.topic,
    partition = excluded.partition,
    "offset" = excluded."offset",
    applied_at = excluded.applied_at
WHERE excluded.version > t.version
    OR (excluded.version = t.version AND (t.name, t.email, t.phone, t.role, t.deleted) IS DISTINCT FROM (excluded.name, excluded.email, excluded.phone, excluded.role, excluded.deleted))
