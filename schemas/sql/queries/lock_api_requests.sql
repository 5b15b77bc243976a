-- $1 credential: one process at a time counts and writes down.
SELECT pg_advisory_xact_lock(hashtextextended($1, 0))
