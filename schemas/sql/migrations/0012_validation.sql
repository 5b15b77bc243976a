-- What a validation found. Only ever about rows: it changes none of them.

CREATE TABLE sync.validation_reports (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    level text NOT NULL CHECK (level IN ('strict', 'normal', 'relaxed')),
    job_id bigint,
    started_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    transactions bigint,
    accounts bigint,
    found jsonb NOT NULL DEFAULT '{}',
    opened bigint,
    closed bigint
);

-- Open while resolved_at is null. severity: 3 error, 2 warning, 1 notice.
CREATE TABLE sync.validation_issues (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    check_name text COLLATE "C" NOT NULL,
    entity text COLLATE "C" NOT NULL,
    book text COLLATE "C" NOT NULL,
    source text COLLATE "C" NOT NULL,
    row_id text COLLATE "C" NOT NULL,
    field text COLLATE "C" NOT NULL,
    severity smallint NOT NULL CHECK (severity BETWEEN 1 AND 3),
    reason text NOT NULL,
    resolve text NOT NULL,
    first_report bigint NOT NULL REFERENCES sync.validation_reports (id),
    last_report bigint NOT NULL REFERENCES sync.validation_reports (id),
    first_seen timestamptz NOT NULL DEFAULT now(),
    last_seen timestamptz NOT NULL DEFAULT now(),
    resolved_at timestamptz,
    UNIQUE (check_name, entity, book, source, row_id, field)
);

CREATE INDEX validation_issues_open ON sync.validation_issues (check_name, severity)
    WHERE resolved_at IS NULL;

-- What a bank account held before the first day of its history, taken at its first validation:
-- a bank tells no opening balance. (A plan's opening balance is a transaction of its own.)
CREATE TABLE sync.validation_openings (
    book text COLLATE "C" NOT NULL,
    source text COLLATE "C" NOT NULL,
    account_id text COLLATE "C" NOT NULL,
    from_date date NOT NULL,
    opening numeric NOT NULL,
    taken_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (book, source, account_id)
);
