DELETE FROM sync.observed
WHERE kind = $1 AND name = $2
    AND (instance = $3 OR heartbeat_at < now() - interval '1 day')
