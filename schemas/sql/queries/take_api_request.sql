-- $1 credential, $2 now (seconds since 1970), $3 the window's length in seconds, $4 the limit.
-- Writes the request down if there is room; tells how many there were, and when the oldest was made.
WITH gone AS (
    DELETE FROM sync.api_requests
    WHERE credential = $1 AND at <= to_timestamp($2::float8) - make_interval(secs => $3::float8)
), made AS (
    SELECT count(*) AS requests, min(at) AS oldest FROM sync.api_requests
    WHERE credential = $1 AND at > to_timestamp($2::float8) - make_interval(secs => $3::float8)
), put AS (
    INSERT INTO sync.api_requests (credential, at)
    SELECT $1, to_timestamp($2::float8) FROM made WHERE requests < $4::bigint
)
SELECT requests, extract(epoch FROM oldest)::float8 AS oldest FROM made
