UPDATE sync.offsets SET gap_end = NULL
WHERE group_name = $1 AND topic = $2 AND partition = $3 AND topic_id = $4 AND gap_end = $5
