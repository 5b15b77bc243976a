INSERT INTO sync.observed (kind, name, instance, state)
VALUES ($1, $2, $3, $4::text::jsonb)
ON CONFLICT (kind, name, instance) DO UPDATE
SET state = excluded.state, heartbeat_at = now()
