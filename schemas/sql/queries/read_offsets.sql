SELECT topic, partition, topic_id, next_offset, gap_end,
    extract(epoch FROM now() - updated_at)::float8 AS silent_seconds
FROM sync.offsets
WHERE group_name = $1
