-- Only while the row is still as it was read.
UPDATE sync.offsets
SET topic_id = $6, next_offset = $7, gap_end = $8, updated_at = now()
WHERE group_name = $1 AND topic = $2 AND partition = $3 AND topic_id = $4 AND next_offset = $5
