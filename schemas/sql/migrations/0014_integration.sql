-- Answers of APIs that could not be used, or contradict themselves: where, of which kind, how often.

-- Open while resolved_at is null. stream: the plan or item; empty: the source. subject: the object
-- that contradicts itself; empty: the answer as a whole. Nothing of what an answer held.
CREATE TABLE sync.integration_errors (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source text COLLATE "C" NOT NULL,
    stream text COLLATE "C" NOT NULL,
    endpoint text COLLATE "C" NOT NULL,
    category text COLLATE "C" NOT NULL,
    subject text COLLATE "C" NOT NULL DEFAULT '',
    count bigint NOT NULL DEFAULT 1 CHECK (count > 0),
    detail text NOT NULL DEFAULT '',
    first_seen timestamptz NOT NULL DEFAULT now(),
    last_seen timestamptz NOT NULL DEFAULT now(),
    resolved_at timestamptz,
    UNIQUE (source, stream, endpoint, category, subject)
);

CREATE INDEX integration_errors_open ON sync.integration_errors (source, stream)
    WHERE resolved_at IS NULL;
