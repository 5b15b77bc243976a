-- The newest request for each of an asker's pieces of work.
SELECT DISTINCT ON (number) id, (parameters->>'number')::int AS number, state,
    result::text AS result, error
FROM sync.requests
WHERE requested_by = $1 AND parameters ? 'number'
ORDER BY number, id DESC
