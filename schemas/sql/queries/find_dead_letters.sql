-- Open ones, or with $1 (ids) or $2 (entity) some of them; $3: also those that are closed.
-- A page of $4 behind the id $5; $6: with the record itself.
SELECT d.id, d.book, d.source, d.entity, d.stage, d.mapping, d.collection, d.document_id, d.row_id,
    d.topic, d.partition, d."offset", d.key, CASE WHEN $6 THEN d.value END AS value,
    d.headers::text AS headers, d.path, d.reason,
    d.detail, encode(d.version, 'hex') AS version, d.attempts, d.first_seen, d.last_seen,
    d.resolved_at, o.id IS NOT NULL AS open
FROM sync.dead_letters AS d
LEFT JOIN sync.open_dead_letters AS o ON o.id = d.id
WHERE ($1::bigint[] IS NULL OR d.id = ANY($1))
    AND ($2::text IS NULL OR d.entity = $2)
    AND ($3 OR o.id IS NOT NULL)
    AND d.id > $5
ORDER BY d.id
LIMIT $4
