INSERT INTO sync.offsets (group_name, topic, partition, topic_id, next_offset)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT DO NOTHING
