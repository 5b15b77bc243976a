INSERT INTO sync.offsets (group_name, topic, partition, topic_id, next_offset)
SELECT $1, a.topic, a.partition, a.topic_id, a.next_offset
FROM unnest($2::text[], $3::integer[], $4::text[], $5::bigint[])
    AS a (topic, partition, topic_id, next_offset)
ORDER BY 2, 3
ON CONFLICT DO NOTHING
