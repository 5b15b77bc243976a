-- Tombstones of ids that were never seen: integration errors of their own, shown, no alarm.

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
