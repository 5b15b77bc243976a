INSERT INTO accounting.owners AS t (book, source, id, name, email, phone, role, deleted, version, source_time, topic, partition, "offset", applied_at)
SELECT s.book, s.source, s.id, s.name::text, s.email::text, s.phone::text, s.role::text, s.deleted::boolean, decode(s.version, 'hex'), to_timestamp(s.source_ms::float8 / 1000), $1, s.partition::integer, s."offset"::bigint, now()
FROM pg_temp.stage_accounting_owners AS s
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
