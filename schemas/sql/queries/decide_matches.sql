-- What a job decided is a person's word from now on, the same or another.
UPDATE budget.matches
SET state = $1, decided_by = $2, decided_at = now()
WHERE (id = ANY ($3::bigint[]) OR (decided_by = $4 AND state = 'confirmed'))
    AND (state <> $1 OR decided_by LIKE 'job %')
