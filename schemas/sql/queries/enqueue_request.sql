INSERT INTO sync.requests (source, kind, parameters, requested_by)
VALUES ($1, $2, $3::text::jsonb, $4)
RETURNING id
