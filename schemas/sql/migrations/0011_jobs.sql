-- Jobs: work that ends. One row each; whoever runs it holds a lease on it.

CREATE TABLE sync.jobs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text COLLATE "C" NOT NULL,
    params jsonb NOT NULL DEFAULT '{}',
    state text NOT NULL DEFAULT 'waiting'
        CHECK (state IN ('waiting', 'running', 'retrying', 'done', 'failed', 'cancelled')),
    attempts integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    attempts_max integer NOT NULL DEFAULT 3 CHECK (attempts_max >= 1),
    unique_key text COLLATE "C" UNIQUE,
    run_at timestamptz NOT NULL DEFAULT now(),
    cursor jsonb,
    progress jsonb NOT NULL DEFAULT '{}',
    result jsonb,
    errors jsonb NOT NULL DEFAULT '[]',
    requested_by text,
    requested_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    finished_at timestamptz,
    cancel_asked boolean NOT NULL DEFAULT false,
    runner text,
    lease_until timestamptz,
    CHECK ((state = 'running') = (lease_until IS NOT NULL)),
    CHECK ((state IN ('done', 'failed', 'cancelled')) = (finished_at IS NOT NULL))
) WITH (fillfactor = 50);

CREATE INDEX jobs_open ON sync.jobs (run_at, id) WHERE state IN ('waiting', 'running', 'retrying');

CREATE FUNCTION sync.tell_job() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM pg_notify('sync_jobs', NEW.id::text);
    RETURN NULL;
END $$;

CREATE TRIGGER tell_new_job AFTER INSERT ON sync.jobs
    FOR EACH ROW EXECUTE FUNCTION sync.tell_job();
CREATE TRIGGER tell_cancelled_job AFTER UPDATE OF cancel_asked ON sync.jobs
    FOR EACH ROW WHEN (NEW.cancel_asked) EXECUTE FUNCTION sync.tell_job();

-- What jobs tell the world when they have ended well.
CREATE TABLE sync.job_events (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    event text NOT NULL
        CHECK (event IN ('sync_completed', 'duplicates_detected', 'data_validation')),
    job_id bigint NOT NULL REFERENCES sync.jobs (id) ON DELETE CASCADE,
    data jsonb NOT NULL
);

CREATE INDEX job_events_by_job ON sync.job_events (job_id);
