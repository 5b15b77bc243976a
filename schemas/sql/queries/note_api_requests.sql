-- $1 credential, $2 times (seconds since 1970) of requests made while the log was away.
INSERT INTO sync.api_requests (credential, at)
SELECT $1, to_timestamp(t) FROM unnest($2::float8[]) AS t
