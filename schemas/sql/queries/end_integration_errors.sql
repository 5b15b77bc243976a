-- $3: those of single objects, else those of whole answers; $4: only of this object.
UPDATE sync.integration_errors
SET resolved_at = now()
WHERE source = $1 AND stream = $2 AND (subject <> '') = $3
    AND ($4::text IS NULL OR subject = $4) AND resolved_at IS NULL
