UPDATE sync.requests SET result = $2::text::jsonb WHERE id = $1 AND state = 'running'
