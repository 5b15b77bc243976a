-- The first statement of every apply: compare and set, on every partition of the batch.
-- $1 group, then arrays: topic, partition, topic id, expected offset, next offset.
UPDATE sync.offsets AS o
SET next_offset = m.next_offset, updated_at = now()
FROM unnest($2::text[], $3::integer[], $4::text[], $5::bigint[], $6::bigint[])
    AS m (topic, partition, topic_id, expected, next_offset)
WHERE o.group_name = $1 AND o.topic = m.topic AND o.partition = m.partition
    AND o.topic_id = m.topic_id AND o.next_offset = m.expected
