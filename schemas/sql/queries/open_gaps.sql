-- Partitions that are read up to where deletes may have been missed.
SELECT topic, partition, topic_id, gap_end
FROM sync.offsets
WHERE group_name = $1 AND gap_end IS NOT NULL AND next_offset >= gap_end
