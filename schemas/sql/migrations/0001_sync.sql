-- What the movers of data keep for themselves: positions, dead letters, requests, what is seen.

CREATE SCHEMA IF NOT EXISTS sync;

CREATE TABLE sync.migrations (
    number integer PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- The arbiter of what is applied: moved by compare-and-set, in the transaction of its rows.
-- While gap_end is set, deletes below that offset may have been missed (compaction forgets them).
CREATE TABLE sync.offsets (
    group_name text COLLATE "C" NOT NULL,
    topic text COLLATE "C" NOT NULL,
    partition integer NOT NULL CHECK (partition >= 0),
    topic_id text NOT NULL,
    next_offset bigint NOT NULL CHECK (next_offset >= 0),
    gap_end bigint,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (group_name, topic, partition)
) WITH (fillfactor = 50);

-- What could not be mapped (stage map, by a source) or applied (stage apply, here).
-- subject: the document's id, or where no id can be told, the record's key or place.
-- common_id: what the ids of all rows of the document begin with.
CREATE TABLE sync.dead_letters (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    book text COLLATE "C" NOT NULL,
    source text COLLATE "C" NOT NULL,
    entity text COLLATE "C" NOT NULL,
    stage text NOT NULL CHECK (stage IN ('map', 'apply')),
    subject text COLLATE "C" NOT NULL,
    mapping text COLLATE "C" NOT NULL DEFAULT '',
    collection text,
    document_id text COLLATE "C",
    row_id text COLLATE "C",
    common_id text COLLATE "C",
    topic text,
    partition integer,
    "offset" bigint,
    key bytea,
    value bytea,
    headers jsonb,
    path text,
    reason text NOT NULL,
    detail text,
    version bytea NOT NULL DEFAULT '\x',
    attempts integer NOT NULL DEFAULT 1,
    first_seen timestamptz NOT NULL DEFAULT now(),
    last_seen timestamptz NOT NULL DEFAULT now(),
    resolved_at timestamptz,
    UNIQUE (book, source, entity, stage, subject, mapping)
);

CREATE INDEX dead_letters_unresolved ON sync.dead_letters (entity) WHERE resolved_at IS NULL;

-- What a person wants done once by the owner of a source, who alone publishes.
CREATE TABLE sync.requests (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source text COLLATE "C" NOT NULL,
    kind text NOT NULL CHECK (kind IN ('resync', 'retry')),
    parameters jsonb NOT NULL DEFAULT '{}',
    state text NOT NULL DEFAULT 'waiting'
        CHECK (state IN ('waiting', 'running', 'done', 'failed', 'cancelled')),
    requested_at timestamptz NOT NULL DEFAULT now(),
    requested_by text,
    taken_at timestamptz,
    finished_at timestamptz,
    result jsonb,
    error text
);

CREATE INDEX requests_open ON sync.requests (source, id) WHERE state IN ('waiting', 'running');

CREATE FUNCTION sync.tell_request() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM pg_notify('sync_requests', NEW.source);
    RETURN NULL;
END $$;

CREATE TRIGGER tell_request AFTER INSERT ON sync.requests
    FOR EACH ROW EXECUTE FUNCTION sync.tell_request();

-- What is: written by every process about its sources and consumers, with a heartbeat.
CREATE TABLE sync.observed (
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('source', 'consumer')),
    name text COLLATE "C" NOT NULL,
    instance text COLLATE "C" NOT NULL,
    state jsonb NOT NULL,
    heartbeat_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (kind, name, instance)
) WITH (fillfactor = 50);

-- Requests made of APIs that allow so many an hour, by a hash of the credential.
CREATE TABLE sync.api_requests (
    credential text COLLATE "C" NOT NULL,
    at timestamptz NOT NULL
);

CREATE INDEX api_requests_recent ON sync.api_requests (credential, at);

CREATE TABLE sync.audit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    actor text NOT NULL,
    action text NOT NULL,
    target text NOT NULL,
    before jsonb,
    after jsonb,
    outcome text NOT NULL
);
