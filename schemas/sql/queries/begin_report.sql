INSERT INTO sync.validation_reports (level, job_id) VALUES ($1, $2) RETURNING id
