-- YNAB's lists repeat names beside ids. Here a name is kept once, and looked up where it is read.

CREATE OR REPLACE VIEW budget.categories_live AS
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

CREATE OR REPLACE VIEW budget.month_categories_live AS
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

CREATE OR REPLACE VIEW budget.transactions_live AS
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

CREATE OR REPLACE VIEW budget.subtransactions_live AS
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

CREATE OR REPLACE VIEW budget.scheduled_transactions_live AS
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

CREATE OR REPLACE VIEW budget.scheduled_subtransactions_live AS
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
