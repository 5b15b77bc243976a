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
    kind text NOT NULL CHECK (kind IN ('resync', 'retry', 'window')),
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
CREATE INDEX requests_by_asker ON sync.requests (requested_by, id);

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

-- The accounting facts, the totals kept over them, and the accounts seen through both.
-- Text keys are compared by their bytes, so that every writer sorts and locks them alike.

CREATE SCHEMA IF NOT EXISTS accounting;

CREATE TABLE accounting.properties (
    book text COLLATE "C" NOT NULL,
    source text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    name text,
    address text,
    owner_id text COLLATE "C",
    currency text COLLATE "C",
    deleted boolean NOT NULL DEFAULT false,
    version bytea NOT NULL DEFAULT '\x',
    source_time timestamptz,
    topic text,
    partition integer,
    "offset" bigint,
    applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (book, source, id)
) WITH (fillfactor = 90);

CREATE TABLE accounting.owners (
    book text COLLATE "C" NOT NULL,
    source text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    name text,
    email text,
    phone text,
    role text,
    deleted boolean NOT NULL DEFAULT false,
    version bytea NOT NULL DEFAULT '\x',
    source_time timestamptz,
    topic text,
    partition integer,
    "offset" bigint,
    applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (book, source, id)
) WITH (fillfactor = 90);

-- Content may be null only where a delete came before anything else was known.
-- The bound on amounts keeps out NaN and infinities, and sums from overflowing.
CREATE TABLE accounting.transactions (
    book text COLLATE "C" NOT NULL,
    source text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    property_id text COLLATE "C",
    type text COLLATE "C",
    amount numeric CHECK (amount > -1e100 AND amount < 1e100),
    currency text COLLATE "C",
    date date,
    description text,
    status text,
    settled boolean,
    payment_method text,
    reference text,
    transaction_hash bytea,
    deleted boolean NOT NULL DEFAULT false,
    version bytea NOT NULL DEFAULT '\x',
    source_time timestamptz,
    topic text,
    partition integer,
    "offset" bigint,
    applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (book, source, id),
    CHECK (type IN ('income', 'expense', 'owner_payout', 'repair', 'maintenance', 'other')),
    CHECK (deleted OR (type IS NOT NULL AND amount IS NOT NULL AND currency IS NOT NULL
        AND settled IS NOT NULL))
) WITH (fillfactor = 90);

CREATE INDEX transactions_unassigned ON accounting.transactions (book, source)
    WHERE property_id IS NULL AND NOT deleted;

CREATE VIEW accounting.properties_live AS SELECT * FROM accounting.properties WHERE NOT deleted;
CREATE VIEW accounting.owners_live AS SELECT * FROM accounting.owners WHERE NOT deleted;
CREATE VIEW accounting.transactions_live AS
    SELECT * FROM accounting.transactions WHERE NOT deleted;

-- Sums over live, settled transactions; transactions counts the live ones, settled or not.
-- A row is there as soon as its first transaction is, whether its property is known or not.
CREATE TABLE accounting.account_totals (
    book text COLLATE "C" NOT NULL,
    source text COLLATE "C" NOT NULL,
    property_id text COLLATE "C" NOT NULL,
    currency text COLLATE "C" NOT NULL,
    income numeric NOT NULL,
    expenses numeric NOT NULL,
    balance numeric GENERATED ALWAYS AS (income - expenses) STORED,
    transactions bigint NOT NULL,
    PRIMARY KEY (book, source, property_id, currency)
) WITH (fillfactor = 50);

-- One pass over a statement's rows, grouped and sorted by key, so that totals are locked in one
-- order by whoever writes. No join: a plan made for an empty table must not cost a nested loop.
CREATE FUNCTION accounting.add_inserted_to_totals() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO accounting.account_totals AS t
        (book, source, property_id, currency, income, expenses, transactions)
    SELECT book, source, property_id, upper(currency),
        coalesce(sum(amount) FILTER (WHERE settled AND type = 'income'), 0),
        coalesce(sum(amount) FILTER (WHERE settled AND type <> 'income'), 0),
        count(*)
    FROM inserted
    WHERE NOT deleted AND property_id IS NOT NULL
    GROUP BY 1, 2, 3, 4
    ORDER BY 1, 2, 3, 4
    ON CONFLICT (book, source, property_id, currency) DO UPDATE
    SET income = t.income + excluded.income,
        expenses = t.expenses + excluded.expenses,
        transactions = t.transactions + excluded.transactions;
    RETURN NULL;
END $$;

CREATE FUNCTION accounting.move_updated_in_totals() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO accounting.account_totals AS t
        (book, source, property_id, currency, income, expenses, transactions)
    SELECT book, source, property_id, upper(currency),
        coalesce(sum(sign * amount) FILTER (WHERE settled AND type = 'income'), 0),
        coalesce(sum(sign * amount) FILTER (WHERE settled AND type <> 'income'), 0),
        sum(sign)
    FROM (
        SELECT book, source, property_id, currency, type, amount, settled, deleted, 1 AS sign
        FROM updated_to
        UNION ALL
        SELECT book, source, property_id, currency, type, amount, settled, deleted, -1
        FROM updated_from
    ) AS moved
    WHERE NOT deleted AND property_id IS NOT NULL
    GROUP BY 1, 2, 3, 4
    HAVING sum(sign) <> 0
        OR sum(sign * amount) FILTER (WHERE settled AND type = 'income') <> 0
        OR sum(sign * amount) FILTER (WHERE settled AND type <> 'income') <> 0
    ORDER BY 1, 2, 3, 4
    ON CONFLICT (book, source, property_id, currency) DO UPDATE
    SET income = t.income + excluded.income,
        expenses = t.expenses + excluded.expenses,
        transactions = t.transactions + excluded.transactions;
    RETURN NULL;
END $$;

CREATE FUNCTION accounting.take_removed_from_totals() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO accounting.account_totals AS t
        (book, source, property_id, currency, income, expenses, transactions)
    SELECT book, source, property_id, upper(currency),
        -coalesce(sum(amount) FILTER (WHERE settled AND type = 'income'), 0),
        -coalesce(sum(amount) FILTER (WHERE settled AND type <> 'income'), 0),
        -count(*)
    FROM removed
    WHERE NOT deleted AND property_id IS NOT NULL
    GROUP BY 1, 2, 3, 4
    ORDER BY 1, 2, 3, 4
    ON CONFLICT (book, source, property_id, currency) DO UPDATE
    SET income = t.income + excluded.income,
        expenses = t.expenses + excluded.expenses,
        transactions = t.transactions + excluded.transactions;
    RETURN NULL;
END $$;

CREATE FUNCTION accounting.empty_totals() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM accounting.account_totals;
    RETURN NULL;
END $$;

CREATE TRIGGER totals_of_inserted AFTER INSERT ON accounting.transactions
    REFERENCING NEW TABLE AS inserted
    FOR EACH STATEMENT EXECUTE FUNCTION accounting.add_inserted_to_totals();

CREATE TRIGGER totals_of_updated AFTER UPDATE ON accounting.transactions
    REFERENCING OLD TABLE AS updated_from NEW TABLE AS updated_to
    FOR EACH STATEMENT EXECUTE FUNCTION accounting.move_updated_in_totals();

CREATE TRIGGER totals_of_removed AFTER DELETE ON accounting.transactions
    REFERENCING OLD TABLE AS removed
    FOR EACH STATEMENT EXECUTE FUNCTION accounting.take_removed_from_totals();

CREATE TRIGGER totals_of_emptied AFTER TRUNCATE ON accounting.transactions
    FOR EACH STATEMENT EXECUTE FUNCTION accounting.empty_totals();

-- A property with its live owner's name and the totals in its own currency. Nothing is copied,
-- so the order in which properties, owners and transactions arrive does not matter.
CREATE VIEW accounting.property_accounts AS
SELECT p.book, p.source, p.id, p.name, p.address, p.owner_id,
    coalesce(upper(p.currency), 'USD') AS currency,
    p.deleted,
    o.name AS owner_name,
    coalesce(t.balance, 0) AS running_balance,
    coalesce(t.income, 0) AS total_income,
    coalesce(t.expenses, 0) AS total_expenses
FROM accounting.properties AS p
LEFT JOIN accounting.owners AS o
    ON o.book = p.book AND o.source = p.source AND o.id = p.owner_id AND NOT o.deleted
LEFT JOIN accounting.account_totals AS t
    ON t.book = p.book AND t.source = p.source AND t.property_id = p.id
    AND t.currency = coalesce(upper(p.currency), 'USD');

CREATE VIEW accounting.property_accounts_live AS
    SELECT * FROM accounting.property_accounts WHERE NOT deleted;

-- Every row of every fact table, with what makes it newer than another.
CREATE VIEW sync.row_versions AS
SELECT 'accounting.properties' AS entity, book, source, id, version
FROM accounting.properties
UNION ALL
SELECT 'accounting.owners', book, source, id, version FROM accounting.owners
UNION ALL
SELECT 'accounting.transactions', book, source, id, version FROM accounting.transactions;

-- Open: not resolved by a person, and no row of that document has a newer version. The rows of a
-- document with arrays have its id and a slash before their own. A record that could not be
-- applied is dealt with when its very version stands in the table.
-- (SELECT … LIMIT 1) IS NULL and not NOT EXISTS: a look-up for each letter, never a join with all
-- rows, which is what the planner would make of it.
CREATE VIEW sync.open_dead_letters AS
SELECT d.*
FROM sync.dead_letters AS d
WHERE d.resolved_at IS NULL
    AND (
        SELECT true FROM sync.row_versions AS r
        WHERE r.entity = d.entity AND r.book = d.book AND r.source = d.source
            AND r.id = coalesce(d.row_id, d.common_id)
            AND (r.version > d.version OR (d.stage = 'apply' AND r.version = d.version))
        LIMIT 1
    ) IS NULL
    AND (
        SELECT true FROM sync.row_versions AS r
        WHERE d.stage = 'map' AND r.entity = d.entity AND r.book = d.book AND r.source = d.source
            AND r.id > d.common_id || '/' AND r.id < d.common_id || '0'
            AND r.version > d.version
        LIMIT 1
    ) IS NULL;

-- The budget facts: YNAB's structure, the bank feed mapped into it, and what is derived over them.
-- Content may be null only where a delete came before anything else was known.

CREATE SCHEMA IF NOT EXISTS budget;

CREATE TABLE budget.budgets (
    book text COLLATE "C" NOT NULL,
    source text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    kind text,
    name text,
    currency text,
    currency_format jsonb,
    date_format text,
    first_month date,
    last_month date,
    last_modified_on timestamptz,
    institution_id text COLLATE "C",
    institution_name text,
    status text,
    status_reason text,
    consent_expiration_time timestamptz,
    last_successful_update timestamptz,
    last_failed_update timestamptz,
    details jsonb,
    deleted boolean NOT NULL DEFAULT false,
    version bytea NOT NULL DEFAULT '\x',
    source_time timestamptz,
    topic text,
    partition integer,
    "offset" bigint,
    applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (book, source, id),
    CHECK (deleted OR (kind IS NOT NULL AND name IS NOT NULL))
) WITH (fillfactor = 90);

CREATE TABLE budget.accounts (
    book text COLLATE "C" NOT NULL,
    source text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    budget_id text COLLATE "C",
    name text,
    type text,
    on_budget boolean,
    closed boolean,
    note text,
    currency text,
    unofficial_currency text,
    balance numeric,
    cleared_balance numeric,
    uncleared_balance numeric,
    available numeric,
    credit_limit numeric,
    transfer_payee_id text COLLATE "C",
    direct_import_linked boolean,
    direct_import_in_error boolean,
    last_reconciled_at timestamptz,
    debt_original_balance numeric,
    debt_interest_rates jsonb,
    debt_minimum_payments jsonb,
    debt_escrow_amounts jsonb,
    subtype text,
    official_name text,
    mask text,
    persistent_account_id text COLLATE "C",
    holder_category text,
    details jsonb,
    deleted boolean NOT NULL DEFAULT false,
    version bytea NOT NULL DEFAULT '\x',
    source_time timestamptz,
    topic text,
    partition integer,
    "offset" bigint,
    applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (book, source, id),
    CHECK (deleted OR (budget_id IS NOT NULL AND name IS NOT NULL AND type IS NOT NULL))
) WITH (fillfactor = 90);

CREATE TABLE budget.category_groups (
    book text COLLATE "C" NOT NULL,
    source text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    budget_id text COLLATE "C",
    name text,
    hidden boolean,
    internal boolean,
    details jsonb,
    deleted boolean NOT NULL DEFAULT false,
    version bytea NOT NULL DEFAULT '\x',
    source_time timestamptz,
    topic text,
    partition integer,
    "offset" bigint,
    applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (book, source, id),
    CHECK (deleted OR (budget_id IS NOT NULL AND name IS NOT NULL))
) WITH (fillfactor = 90);

CREATE TABLE budget.categories (
    book text COLLATE "C" NOT NULL,
    source text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    budget_id text COLLATE "C",
    category_group_id text COLLATE "C",
    name text,
    hidden boolean,
    internal boolean,
    original_category_group_id text COLLATE "C",
    note text,
    month date,
    currency text,
    budgeted numeric,
    activity numeric,
    balance numeric,
    goal_type text,
    goal_needs_whole_amount boolean,
    goal_day bigint,
    goal_cadence bigint,
    goal_cadence_frequency bigint,
    goal_creation_month date,
    goal_target numeric,
    goal_target_month date,
    goal_target_date date,
    goal_percentage_complete bigint,
    goal_months_to_budget bigint,
    goal_under_funded numeric,
    goal_overall_funded numeric,
    goal_overall_left numeric,
    goal_snoozed_at timestamptz,
    details jsonb,
    deleted boolean NOT NULL DEFAULT false,
    version bytea NOT NULL DEFAULT '\x',
    source_time timestamptz,
    topic text,
    partition integer,
    "offset" bigint,
    applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (book, source, id),
    CHECK (deleted OR (budget_id IS NOT NULL AND month IS NOT NULL))
) WITH (fillfactor = 90);

CREATE TABLE budget.months (
    book text COLLATE "C" NOT NULL,
    source text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    budget_id text COLLATE "C",
    month date,
    note text,
    currency text,
    income numeric,
    budgeted numeric,
    activity numeric,
    to_be_budgeted numeric,
    age_of_money bigint,
    details jsonb,
    deleted boolean NOT NULL DEFAULT false,
    version bytea NOT NULL DEFAULT '\x',
    source_time timestamptz,
    topic text,
    partition integer,
    "offset" bigint,
    applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (book, source, id),
    CHECK (deleted OR (budget_id IS NOT NULL AND month IS NOT NULL))
) WITH (fillfactor = 90);

CREATE TABLE budget.month_categories (
    book text COLLATE "C" NOT NULL,
    source text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    budget_id text COLLATE "C",
    category_group_id text COLLATE "C",
    name text,
    hidden boolean,
    internal boolean,
    original_category_group_id text COLLATE "C",
    note text,
    month date,
    currency text,
    budgeted numeric,
    activity numeric,
    balance numeric,
    goal_type text,
    goal_needs_whole_amount boolean,
    goal_day bigint,
    goal_cadence bigint,
    goal_cadence_frequency bigint,
    goal_creation_month date,
    goal_target numeric,
    goal_target_month date,
    goal_target_date date,
    goal_percentage_complete bigint,
    goal_months_to_budget bigint,
    goal_under_funded numeric,
    goal_overall_funded numeric,
    goal_overall_left numeric,
    goal_snoozed_at timestamptz,
    category_id text COLLATE "C",
    details jsonb,
    deleted boolean NOT NULL DEFAULT false,
    version bytea NOT NULL DEFAULT '\x',
    source_time timestamptz,
    topic text,
    partition integer,
    "offset" bigint,
    applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (book, source, id),
    CHECK (deleted OR (budget_id IS NOT NULL AND month IS NOT NULL AND category_id IS NOT NULL))
) WITH (fillfactor = 90);

CREATE TABLE budget.payees (
    book text COLLATE "C" NOT NULL,
    source text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    budget_id text COLLATE "C",
    name text,
    transfer_account_id text COLLATE "C",
    details jsonb,
    deleted boolean NOT NULL DEFAULT false,
    version bytea NOT NULL DEFAULT '\x',
    source_time timestamptz,
    topic text,
    partition integer,
    "offset" bigint,
    applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (book, source, id),
    CHECK (deleted OR (budget_id IS NOT NULL AND name IS NOT NULL))
) WITH (fillfactor = 90);

CREATE TABLE budget.payee_locations (
    book text COLLATE "C" NOT NULL,
    source text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    budget_id text COLLATE "C",
    payee_id text COLLATE "C",
    latitude text,
    longitude text,
    details jsonb,
    deleted boolean NOT NULL DEFAULT false,
    version bytea NOT NULL DEFAULT '\x',
    source_time timestamptz,
    topic text,
    partition integer,
    "offset" bigint,
    applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (book, source, id),
    CHECK (deleted OR (budget_id IS NOT NULL AND payee_id IS NOT NULL))
) WITH (fillfactor = 90);

-- subtransaction_ids: the complete set of a split's lines, null where it was not told whole.
CREATE TABLE budget.transactions (
    book text COLLATE "C" NOT NULL,
    source text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    budget_id text COLLATE "C",
    amount numeric CHECK (amount > -1e100 AND amount < 1e100),
    currency text,
    memo text,
    payee_id text COLLATE "C",
    category_id text COLLATE "C",
    transfer_account_id text COLLATE "C",
    account_id text COLLATE "C",
    date date,
    cleared text,
    approved boolean,
    flag_color text,
    flag_name text,
    transfer_transaction_id text COLLATE "C",
    matched_transaction_id text COLLATE "C",
    import_id text COLLATE "C",
    import_payee_name text,
    import_payee_name_original text,
    debt_transaction_type text,
    subtransaction_ids jsonb,
    payee_name text,
    pending boolean,
    pending_transaction_id text COLLATE "C",
    unofficial_currency text,
    authorized_date date,
    authorized_datetime timestamptz,
    datetime timestamptz,
    name text,
    merchant_name text,
    merchant_entity_id text COLLATE "C",
    original_description text,
    category_primary text,
    category_detailed text,
    category_confidence text,
    category_version text,
    payment_channel text,
    transaction_code text,
    check_number text,
    account_owner text,
    location jsonb,
    payment_meta jsonb,
    counterparties jsonb,
    details jsonb,
    transaction_hash bytea,
    deleted boolean NOT NULL DEFAULT false,
    version bytea NOT NULL DEFAULT '\x',
    source_time timestamptz,
    topic text,
    partition integer,
    "offset" bigint,
    applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (book, source, id),
    CHECK (deleted OR (
        budget_id IS NOT NULL AND amount IS NOT NULL AND account_id IS NOT NULL AND date IS NOT NULL
    ))
) WITH (fillfactor = 90);

CREATE TABLE budget.subtransactions (
    book text COLLATE "C" NOT NULL,
    source text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    budget_id text COLLATE "C",
    amount numeric CHECK (amount > -1e100 AND amount < 1e100),
    currency text,
    memo text,
    payee_id text COLLATE "C",
    category_id text COLLATE "C",
    transfer_account_id text COLLATE "C",
    transaction_id text COLLATE "C",
    transfer_transaction_id text COLLATE "C",
    details jsonb,
    deleted boolean NOT NULL DEFAULT false,
    version bytea NOT NULL DEFAULT '\x',
    source_time timestamptz,
    topic text,
    partition integer,
    "offset" bigint,
    applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (book, source, id),
    CHECK (deleted OR (
        budget_id IS NOT NULL AND amount IS NOT NULL AND transaction_id IS NOT NULL
    ))
) WITH (fillfactor = 90);

CREATE TABLE budget.scheduled_transactions (
    book text COLLATE "C" NOT NULL,
    source text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    budget_id text COLLATE "C",
    amount numeric CHECK (amount > -1e100 AND amount < 1e100),
    currency text,
    memo text,
    payee_id text COLLATE "C",
    category_id text COLLATE "C",
    transfer_account_id text COLLATE "C",
    account_id text COLLATE "C",
    date_first date,
    date_next date,
    frequency text,
    flag_color text,
    flag_name text,
    subtransaction_ids jsonb,
    details jsonb,
    deleted boolean NOT NULL DEFAULT false,
    version bytea NOT NULL DEFAULT '\x',
    source_time timestamptz,
    topic text,
    partition integer,
    "offset" bigint,
    applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (book, source, id),
    CHECK (deleted OR (
        budget_id IS NOT NULL AND amount IS NOT NULL AND account_id IS NOT NULL
        AND date_next IS NOT NULL
    ))
) WITH (fillfactor = 90);

CREATE TABLE budget.scheduled_subtransactions (
    book text COLLATE "C" NOT NULL,
    source text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    budget_id text COLLATE "C",
    amount numeric CHECK (amount > -1e100 AND amount < 1e100),
    currency text,
    memo text,
    payee_id text COLLATE "C",
    category_id text COLLATE "C",
    transfer_account_id text COLLATE "C",
    scheduled_transaction_id text COLLATE "C",
    details jsonb,
    deleted boolean NOT NULL DEFAULT false,
    version bytea NOT NULL DEFAULT '\x',
    source_time timestamptz,
    topic text,
    partition integer,
    "offset" bigint,
    applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (book, source, id),
    CHECK (deleted OR (
        budget_id IS NOT NULL AND amount IS NOT NULL AND scheduled_transaction_id IS NOT NULL
    ))
) WITH (fillfactor = 90);

CREATE TABLE budget.money_movement_groups (
    book text COLLATE "C" NOT NULL,
    source text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    budget_id text COLLATE "C",
    month date,
    group_created_at timestamptz,
    note text,
    performed_by_user_id text COLLATE "C",
    details jsonb,
    deleted boolean NOT NULL DEFAULT false,
    version bytea NOT NULL DEFAULT '\x',
    source_time timestamptz,
    topic text,
    partition integer,
    "offset" bigint,
    applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (book, source, id),
    CHECK (deleted OR (budget_id IS NOT NULL))
) WITH (fillfactor = 90);

CREATE TABLE budget.money_movements (
    book text COLLATE "C" NOT NULL,
    source text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    budget_id text COLLATE "C",
    month date,
    moved_at timestamptz,
    note text,
    money_movement_group_id text COLLATE "C",
    performed_by_user_id text COLLATE "C",
    from_category_id text COLLATE "C",
    to_category_id text COLLATE "C",
    currency text,
    amount numeric,
    details jsonb,
    deleted boolean NOT NULL DEFAULT false,
    version bytea NOT NULL DEFAULT '\x',
    source_time timestamptz,
    topic text,
    partition integer,
    "offset" bigint,
    applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (book, source, id),
    CHECK (deleted OR (budget_id IS NOT NULL AND amount IS NOT NULL))
) WITH (fillfactor = 90);

-- The history of bank balances: a row each time one changed.
CREATE TABLE budget.balances (
    book text COLLATE "C" NOT NULL,
    source text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    budget_id text COLLATE "C",
    account_id text COLLATE "C",
    as_of timestamptz,
    current numeric,
    available numeric,
    credit_limit numeric,
    currency text,
    unofficial_currency text,
    details jsonb,
    deleted boolean NOT NULL DEFAULT false,
    version bytea NOT NULL DEFAULT '\x',
    source_time timestamptz,
    topic text,
    partition integer,
    "offset" bigint,
    applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (book, source, id),
    CHECK (deleted OR (budget_id IS NOT NULL AND account_id IS NOT NULL AND as_of IS NOT NULL))
) WITH (fillfactor = 90);

CREATE INDEX transactions_by_account ON budget.transactions (book, source, account_id, date)
    WHERE NOT deleted;
CREATE INDEX transactions_by_hash ON budget.transactions (transaction_hash) WHERE NOT deleted;
CREATE INDEX transactions_by_pending
    ON budget.transactions (book, source, pending_transaction_id, id)
    WHERE NOT deleted AND pending_transaction_id IS NOT NULL;
CREATE INDEX subtransactions_by_parent ON budget.subtransactions (book, source, transaction_id);
CREATE INDEX balances_by_account ON budget.balances (book, source, account_id, as_of);

CREATE VIEW budget.budgets_live AS SELECT * FROM budget.budgets WHERE NOT deleted;
CREATE VIEW budget.accounts_live AS SELECT * FROM budget.accounts WHERE NOT deleted;
CREATE VIEW budget.category_groups_live AS SELECT * FROM budget.category_groups WHERE NOT deleted;
CREATE VIEW budget.categories_live AS
SELECT
    t.book, t.source, t.id, t.budget_id, t.category_group_id, t.name, t.hidden, t.internal,
    t.original_category_group_id, t.note, t.month, t.currency, t.budgeted, t.activity, t.balance,
    t.goal_type, t.goal_needs_whole_amount, t.goal_day, t.goal_cadence, t.goal_cadence_frequency,
    t.goal_creation_month, t.goal_target, t.goal_target_month, t.goal_target_date,
    t.goal_percentage_complete, t.goal_months_to_budget, t.goal_under_funded,
    t.goal_overall_funded, t.goal_overall_left, t.goal_snoozed_at, t.details, t.deleted,
    t.version, t.source_time, t.topic, t.partition, t."offset", t.applied_at,
    g.name AS category_group_name
FROM budget.categories AS t
LEFT JOIN budget.category_groups AS g
    ON g.book = t.book AND g.source = t.source AND g.id = t.category_group_id
WHERE NOT t.deleted;
CREATE VIEW budget.months_live AS SELECT * FROM budget.months WHERE NOT deleted;
CREATE VIEW budget.month_categories_live AS
SELECT
    t.book, t.source, t.id, t.budget_id, t.category_group_id, t.name, t.hidden, t.internal,
    t.original_category_group_id, t.note, t.month, t.currency, t.budgeted, t.activity, t.balance,
    t.goal_type, t.goal_needs_whole_amount, t.goal_day, t.goal_cadence, t.goal_cadence_frequency,
    t.goal_creation_month, t.goal_target, t.goal_target_month, t.goal_target_date,
    t.goal_percentage_complete, t.goal_months_to_budget, t.goal_under_funded,
    t.goal_overall_funded, t.goal_overall_left, t.goal_snoozed_at, t.category_id, t.details,
    t.deleted, t.version, t.source_time, t.topic, t.partition, t."offset", t.applied_at,
    g.name AS category_group_name
FROM budget.month_categories AS t
LEFT JOIN budget.category_groups AS g
    ON g.book = t.book AND g.source = t.source AND g.id = t.category_group_id
WHERE NOT t.deleted;
CREATE VIEW budget.payees_live AS SELECT * FROM budget.payees WHERE NOT deleted;
CREATE VIEW budget.payee_locations_live AS SELECT * FROM budget.payee_locations WHERE NOT deleted;
CREATE VIEW budget.transactions_live AS
SELECT
    t.book, t.source, t.id, t.budget_id, t.amount, t.currency, t.memo, t.payee_id, t.category_id,
    t.transfer_account_id, t.account_id, t.date, t.cleared, t.approved, t.flag_color, t.flag_name,
    t.transfer_transaction_id, t.matched_transaction_id, t.import_id, t.import_payee_name,
    t.import_payee_name_original, t.debt_transaction_type, t.subtransaction_ids,
    coalesce(t.payee_name, p.name) AS payee_name, t.pending, t.pending_transaction_id,
    t.unofficial_currency, t.authorized_date, t.authorized_datetime, t.datetime, t.name,
    t.merchant_name, t.merchant_entity_id, t.original_description, t.category_primary,
    t.category_detailed, t.category_confidence, t.category_version, t.payment_channel,
    t.transaction_code, t.check_number, t.account_owner, t.location, t.payment_meta,
    t.counterparties, t.details, t.transaction_hash, t.deleted, t.version, t.source_time, t.topic,
    t.partition, t."offset", t.applied_at, a.name AS account_name,
    CASE WHEN jsonb_typeof(t.subtransaction_ids) = 'array' AND t.subtransaction_ids <> '[]'
        THEN 'Split' ELSE c.name END AS category_name
FROM budget.transactions AS t
LEFT JOIN budget.accounts AS a ON a.book = t.book AND a.source = t.source AND a.id = t.account_id
LEFT JOIN budget.payees AS p ON p.book = t.book AND p.source = t.source AND p.id = t.payee_id
LEFT JOIN budget.categories AS c
    ON c.book = t.book AND c.source = t.source AND c.id = t.category_id
WHERE NOT t.deleted;
CREATE VIEW budget.scheduled_transactions_live AS
SELECT
    t.book, t.source, t.id, t.budget_id, t.amount, t.currency, t.memo, t.payee_id, t.category_id,
    t.transfer_account_id, t.account_id, t.date_first, t.date_next, t.frequency, t.flag_color,
    t.flag_name, t.subtransaction_ids, t.details, t.deleted, t.version, t.source_time, t.topic,
    t.partition, t."offset", t.applied_at, a.name AS account_name, p.name AS payee_name,
    CASE WHEN jsonb_typeof(t.subtransaction_ids) = 'array' AND t.subtransaction_ids <> '[]'
        THEN 'Split' ELSE c.name END AS category_name
FROM budget.scheduled_transactions AS t
LEFT JOIN budget.accounts AS a ON a.book = t.book AND a.source = t.source AND a.id = t.account_id
LEFT JOIN budget.payees AS p ON p.book = t.book AND p.source = t.source AND p.id = t.payee_id
LEFT JOIN budget.categories AS c
    ON c.book = t.book AND c.source = t.source AND c.id = t.category_id
WHERE NOT t.deleted;
CREATE VIEW budget.scheduled_subtransactions_live AS
SELECT
    t.book, t.source, t.id, t.budget_id, t.amount, t.currency, t.memo, t.payee_id, t.category_id,
    t.transfer_account_id, t.scheduled_transaction_id, t.details, t.deleted, t.version,
    t.source_time, t.topic, t.partition, t."offset", t.applied_at, p.name AS payee_name,
    c.name AS category_name
FROM budget.scheduled_subtransactions AS t
LEFT JOIN budget.payees AS p ON p.book = t.book AND p.source = t.source AND p.id = t.payee_id
LEFT JOIN budget.categories AS c
    ON c.book = t.book AND c.source = t.source AND c.id = t.category_id
WHERE NOT t.deleted;
CREATE VIEW budget.money_movement_groups_live AS
    SELECT * FROM budget.money_movement_groups WHERE NOT deleted;
CREATE VIEW budget.money_movements_live AS SELECT * FROM budget.money_movements WHERE NOT deleted;
CREATE VIEW budget.balances_live AS SELECT * FROM budget.balances WHERE NOT deleted;

-- A line lives as long as its transaction does, and as long as a newer complete set names it. The
-- two tables are filled from two topics in any order, so this is looked up, never kept.
CREATE VIEW budget.subtransactions_live AS
SELECT
    t.book, t.source, t.id, t.budget_id, t.amount, t.currency, t.memo, t.payee_id, t.category_id,
    t.transfer_account_id, t.transaction_id, t.transfer_transaction_id, t.details, t.deleted,
    t.version, t.source_time, t.topic, t.partition, t."offset", t.applied_at,
    p.name AS payee_name, c.name AS category_name
FROM budget.subtransactions AS t
LEFT JOIN budget.payees AS p ON p.book = t.book AND p.source = t.source AND p.id = t.payee_id
LEFT JOIN budget.categories AS c
    ON c.book = t.book AND c.source = t.source AND c.id = t.category_id
WHERE NOT t.deleted AND NOT EXISTS (
    SELECT FROM budget.transactions AS whole
    WHERE whole.book = t.book AND whole.source = t.source AND whole.id = t.transaction_id
        AND (whole.deleted OR (
            whole.version > t.version AND jsonb_typeof(whole.subtransaction_ids) = 'array'
            AND NOT whole.subtransaction_ids ? t.id
        ))
);

-- The same purchase seen by two feeds: (source, transaction_id) is the one that counts, the other
-- one is left out of transactions_once while the match is confirmed. Nothing is merged.
CREATE TABLE budget.matches (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    book text COLLATE "C" NOT NULL,
    source text COLLATE "C" NOT NULL,
    transaction_id text COLLATE "C" NOT NULL,
    other_source text COLLATE "C" NOT NULL,
    other_id text COLLATE "C" NOT NULL,
    score numeric NOT NULL CHECK (score BETWEEN 0 AND 1),
    reason jsonb NOT NULL DEFAULT '{}',
    state text NOT NULL DEFAULT 'proposed' CHECK (state IN ('proposed', 'confirmed', 'rejected')),
    found_at timestamptz NOT NULL DEFAULT now(),
    decided_by text,
    decided_at timestamptz,
    CHECK ((source, transaction_id) <> (other_source, other_id))
);

-- A pair is known once, whichever way round; a transaction is left out for one other at most.
CREATE UNIQUE INDEX matches_pair ON budget.matches (
    book,
    least(source || '/' || transaction_id, other_source || '/' || other_id),
    greatest(source || '/' || transaction_id, other_source || '/' || other_id)
);
CREATE UNIQUE INDEX matches_left_out ON budget.matches (book, other_source, other_id)
    WHERE state = 'confirmed';
CREATE INDEX matches_kept ON budget.matches (book, source, transaction_id)
    WHERE state = 'confirmed';
CREATE INDEX matches_rejected ON budget.matches (book, source, transaction_id, other_id)
    WHERE state = 'rejected';

-- The live row that stands for what was pending: one at most, none where a person said that they
-- are two purchases.
CREATE VIEW budget.posted_for_pending AS
SELECT DISTINCT ON (t.book, t.source, t.pending_transaction_id)
    t.book, t.source, t.pending_transaction_id AS pending_id, t.id
FROM budget.transactions AS t
WHERE NOT t.deleted AND t.pending_transaction_id IS NOT NULL AND t.pending IS NOT TRUE
    AND NOT EXISTS (
        SELECT FROM budget.matches AS m
        WHERE m.state = 'rejected' AND m.book = t.book
            AND m.source = t.source AND m.transaction_id = t.id
            AND m.other_source = t.source AND m.other_id = t.pending_transaction_id
    )
ORDER BY t.book, t.source, t.pending_transaction_id, t.id;

-- Matches over feeds by the rows that stand for their ends now. (What was pending and what was
-- posted are one by the view above; their own match only makes that visible, and can undo it.)
CREATE VIEW budget.matches_now AS
SELECT m.id, m.book, m.source, coalesce(k.id, m.transaction_id) AS transaction_id,
    m.other_source, coalesce(o.id, m.other_id) AS other_id, m.score, m.reason, m.state,
    m.decided_by, m.decided_at
FROM budget.matches AS m
LEFT JOIN LATERAL (
    SELECT p.id FROM budget.posted_for_pending AS p
    WHERE p.book = m.book AND p.source = m.source AND p.pending_id = m.transaction_id
    LIMIT 1
) AS k ON true
LEFT JOIN LATERAL (
    SELECT p.id FROM budget.posted_for_pending AS p
    WHERE p.book = m.book AND p.source = m.other_source AND p.pending_id = m.other_id
    LIMIT 1
) AS o ON true
WHERE m.reason ->> 'rule' IS DISTINCT FROM 'pending'
    AND (m.source, coalesce(k.id, m.transaction_id))
        <> (m.other_source, coalesce(o.id, m.other_id));

-- Between two runs of the job, too, a purchase counts once: whatever is posted, removed, or back.
-- Left out: what was pending and is posted; the other row of a match whose kept row lives; and what
-- such another row was posted as. (Of a hold that is posted as two, one.)
CREATE VIEW budget.transactions_once AS
SELECT t.*
FROM budget.transactions AS t
WHERE NOT t.deleted
    AND (t.pending IS NOT TRUE OR NOT EXISTS (
        SELECT FROM budget.posted_for_pending AS p
        WHERE p.book = t.book AND p.source = t.source AND p.pending_id = t.id
    ))
    AND NOT EXISTS (
        SELECT FROM budget.matches AS m
        WHERE m.state = 'confirmed' AND m.reason ->> 'rule' IS DISTINCT FROM 'pending'
            AND m.book = t.book AND m.other_source = t.source AND m.other_id = t.id
            AND (
                EXISTS (
                    SELECT FROM budget.transactions AS k WHERE k.book = m.book
                        AND k.source = m.source AND k.id = m.transaction_id AND NOT k.deleted
                )
                OR EXISTS (
                    SELECT FROM budget.posted_for_pending AS k WHERE k.book = m.book
                        AND k.source = m.source AND k.pending_id = m.transaction_id
                )
            )
    )
    AND (t.pending_transaction_id IS NULL OR NOT EXISTS (
        SELECT FROM budget.matches AS m
        WHERE m.state = 'confirmed' AND m.reason ->> 'rule' IS DISTINCT FROM 'pending'
            AND m.book = t.book AND m.other_source = t.source
            AND m.other_id = t.pending_transaction_id
            AND (m.source, m.transaction_id) <> (t.source, t.id)
            AND t.id = (
                SELECT p.id FROM budget.posted_for_pending AS p
                WHERE p.book = m.book AND p.source = m.other_source AND p.pending_id = m.other_id
            )
            AND (
                EXISTS (
                    SELECT FROM budget.transactions AS k WHERE k.book = m.book
                        AND k.source = m.source AND k.id = m.transaction_id AND NOT k.deleted
                )
                OR EXISTS (
                    SELECT FROM budget.posted_for_pending AS k WHERE k.book = m.book
                        AND k.source = m.source AND k.pending_id = m.transaction_id
                )
            )
    ));

CREATE INDEX transactions_never_told ON budget.transactions (source)
    WHERE deleted AND budget_id IS NULL;
CREATE INDEX subtransactions_never_told ON budget.subtransactions (source)
    WHERE deleted AND budget_id IS NULL;
CREATE INDEX month_categories_never_told ON budget.month_categories (source)
    WHERE deleted AND budget_id IS NULL;

-- Objects that a source told to be deleted and never told before: made and deleted between two
-- looks at it, mostly. An object that is told after all is in here no more.
CREATE VIEW budget.unknown_tombstones AS
SELECT 'budget.budgets' AS entity, book, source, id, source_time AS told_at, applied_at
FROM budget.budgets WHERE deleted AND kind IS NULL
UNION ALL
SELECT 'budget.accounts', book, source, id, source_time, applied_at
FROM budget.accounts WHERE deleted AND budget_id IS NULL
UNION ALL
SELECT 'budget.category_groups', book, source, id, source_time, applied_at
FROM budget.category_groups WHERE deleted AND budget_id IS NULL
UNION ALL
SELECT 'budget.categories', book, source, id, source_time, applied_at
FROM budget.categories WHERE deleted AND budget_id IS NULL
UNION ALL
SELECT 'budget.months', book, source, id, source_time, applied_at
FROM budget.months WHERE deleted AND budget_id IS NULL
UNION ALL
SELECT 'budget.month_categories', book, source, id, source_time, applied_at
FROM budget.month_categories WHERE deleted AND budget_id IS NULL
UNION ALL
SELECT 'budget.payees', book, source, id, source_time, applied_at
FROM budget.payees WHERE deleted AND budget_id IS NULL
UNION ALL
SELECT 'budget.payee_locations', book, source, id, source_time, applied_at
FROM budget.payee_locations WHERE deleted AND budget_id IS NULL
UNION ALL
SELECT 'budget.transactions', book, source, id, source_time, applied_at
FROM budget.transactions WHERE deleted AND budget_id IS NULL
UNION ALL
SELECT 'budget.subtransactions', book, source, id, source_time, applied_at
FROM budget.subtransactions WHERE deleted AND budget_id IS NULL
UNION ALL
SELECT 'budget.scheduled_transactions', book, source, id, source_time, applied_at
FROM budget.scheduled_transactions WHERE deleted AND budget_id IS NULL
UNION ALL
SELECT 'budget.scheduled_subtransactions', book, source, id, source_time, applied_at
FROM budget.scheduled_subtransactions WHERE deleted AND budget_id IS NULL
UNION ALL
SELECT 'budget.money_movement_groups', book, source, id, source_time, applied_at
FROM budget.money_movement_groups WHERE deleted AND budget_id IS NULL
UNION ALL
SELECT 'budget.money_movements', book, source, id, source_time, applied_at
FROM budget.money_movements WHERE deleted AND budget_id IS NULL
UNION ALL
SELECT 'budget.balances', book, source, id, source_time, applied_at
FROM budget.balances WHERE deleted AND budget_id IS NULL;

-- Which days of an account's history have been fetched; rows of an account never overlap.
-- fetched: asked for, and transactions of them were told. not_available: the bank gives no more.
-- shrunk: fetched, and fewer rows stand in the table than were told. first_date: the oldest told.
CREATE TABLE budget.coverage (
    book text COLLATE "C" NOT NULL,
    source text COLLATE "C" NOT NULL,
    account_id text COLLATE "C" NOT NULL,
    from_date date NOT NULL,
    to_date date NOT NULL,
    state text NOT NULL CHECK (state IN ('fetched', 'shrunk', 'failed', 'not_available')),
    transactions bigint NOT NULL DEFAULT 0,
    detail text,
    fetched_at timestamptz NOT NULL DEFAULT now(),
    first_date date,
    PRIMARY KEY (book, source, account_id, from_date),
    CHECK (from_date <= to_date)
);

-- An account's history in one line. gaps: days between its oldest and newest day that are not
-- fetched; days that the bank does not have are no gap.
CREATE VIEW budget.account_history AS
SELECT book, source, account_id,
    min(from_date) FILTER (WHERE state = 'fetched') AS fetched_from,
    max(to_date) FILTER (WHERE state = 'fetched') AS fetched_to,
    sum(transactions) FILTER (WHERE state = 'fetched')::bigint AS transactions,
    max(to_date) FILTER (WHERE state = 'not_available') AS not_available_to,
    datemultirange(daterange(min(from_date), max(to_date), '[]'))
    - coalesce(
        range_agg(daterange(from_date, to_date, '[]'))
            FILTER (WHERE state IN ('fetched', 'not_available')),
        datemultirange()
    ) AS gaps,
    max(detail) FILTER (WHERE state = 'failed') AS last_error,
    max(fetched_at) AS asked_at
FROM budget.coverage
GROUP BY book, source, account_id;

-- As before, with the budget's tables.
CREATE OR REPLACE VIEW sync.row_versions AS
SELECT 'accounting.properties' AS entity, book, source, id, version
FROM accounting.properties
UNION ALL
SELECT 'accounting.owners', book, source, id, version
FROM accounting.owners
UNION ALL
SELECT 'accounting.transactions', book, source, id, version
FROM accounting.transactions
UNION ALL
SELECT 'budget.budgets', book, source, id, version
FROM budget.budgets
UNION ALL
SELECT 'budget.accounts', book, source, id, version
FROM budget.accounts
UNION ALL
SELECT 'budget.category_groups', book, source, id, version
FROM budget.category_groups
UNION ALL
SELECT 'budget.categories', book, source, id, version
FROM budget.categories
UNION ALL
SELECT 'budget.months', book, source, id, version
FROM budget.months
UNION ALL
SELECT 'budget.month_categories', book, source, id, version
FROM budget.month_categories
UNION ALL
SELECT 'budget.payees', book, source, id, version
FROM budget.payees
UNION ALL
SELECT 'budget.payee_locations', book, source, id, version
FROM budget.payee_locations
UNION ALL
SELECT 'budget.transactions', book, source, id, version
FROM budget.transactions
UNION ALL
SELECT 'budget.subtransactions', book, source, id, version
FROM budget.subtransactions
UNION ALL
SELECT 'budget.scheduled_transactions', book, source, id, version
FROM budget.scheduled_transactions
UNION ALL
SELECT 'budget.scheduled_subtransactions', book, source, id, version
FROM budget.scheduled_subtransactions
UNION ALL
SELECT 'budget.money_movement_groups', book, source, id, version
FROM budget.money_movement_groups
UNION ALL
SELECT 'budget.money_movements', book, source, id, version
FROM budget.money_movements
UNION ALL
SELECT 'budget.balances', book, source, id, version
FROM budget.balances;

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

-- Answers of APIs that could not be used, or contradict themselves.

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
