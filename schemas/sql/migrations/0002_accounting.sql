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
