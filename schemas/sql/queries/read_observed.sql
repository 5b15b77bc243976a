-- What each process last said, and how long ago.
SELECT kind, name, instance, state::text AS state,
    extract(epoch FROM now() - heartbeat_at)::float8 AS silent_seconds
FROM sync.observed
ORDER BY kind, name, heartbeat_at DESC
