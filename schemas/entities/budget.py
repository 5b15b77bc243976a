"""Budget: household money in YNAB's structure, with a bank feed (Plaid) mapped into it.

Every field stands under YNAB's name; what YNAB has no place for is a further column. Differences,
the same in every table:

- amounts are decimals in ``currency``, not milliunits; money in is positive, money out negative,
  whatever the source's sign (Plaid's is the opposite); a debt is a negative balance;
- ``budget_id`` names the plan, or the bank item, that a row belongs to;
- ids are text (a scheduled YNAB transaction's is ``<uuid>_<date>``);
- enumerations are open: a value of tomorrow is kept as it is;
- ``details`` holds what has no column (fractions as text); null where there is nothing.
"""

from schemas.entities.base import Amount, Count, Day, Entity, Flag, Instant, Json, Row, Text


class _Part(Row):
    """What belongs to a budget."""

    budget_id: Text
    details: Json | None = None


class Budget(Row):
    """A YNAB plan (``kind`` plan), or a bank login at one institution (``kind`` item).

    ``status``: ``good``, or why nothing more arrives (``login_required``, …); ``status_reason``:
    the source's own word for it.
    """

    kind: Text
    name: Text
    currency: Text | None = None
    currency_format: Json | None = None
    date_format: Text | None = None
    first_month: Day | None = None
    last_month: Day | None = None
    last_modified_on: Instant | None = None
    institution_id: Text | None = None
    institution_name: Text | None = None
    status: Text | None = None
    status_reason: Text | None = None
    consent_expiration_time: Instant | None = None
    last_successful_update: Instant | None = None
    last_failed_update: Instant | None = None
    details: Json | None = None


class Account(_Part):
    """``balance``: cleared and uncleared; of a bank account, what the bank says (``current``).

    ``available``, ``credit_limit`` as the bank gives them (its ``limit``; of a current account, the
    overdraft). ``debt_*``: decimals by their first day.
    """

    name: Text
    type: Text
    on_budget: Flag | None = None
    closed: Flag | None = None
    note: Text | None = None
    currency: Text | None = None
    unofficial_currency: Text | None = None
    balance: Amount | None = None
    cleared_balance: Amount | None = None
    uncleared_balance: Amount | None = None
    available: Amount | None = None
    credit_limit: Amount | None = None
    transfer_payee_id: Text | None = None
    direct_import_linked: Flag | None = None
    direct_import_in_error: Flag | None = None
    last_reconciled_at: Instant | None = None
    debt_original_balance: Amount | None = None
    debt_interest_rates: Json | None = None
    debt_minimum_payments: Json | None = None
    debt_escrow_amounts: Json | None = None
    subtype: Text | None = None
    official_name: Text | None = None
    mask: Text | None = None
    persistent_account_id: Text | None = None
    holder_category: Text | None = None


class CategoryGroup(_Part):
    """``internal``: a group of the system's own."""

    name: Text
    hidden: Flag | None = None
    internal: Flag | None = None


class _CategoryAmounts(_Part):
    """A category's definition with its amounts of one month."""

    category_group_id: Text | None = None
    name: Text | None = None
    hidden: Flag | None = None
    internal: Flag | None = None
    original_category_group_id: Text | None = None
    note: Text | None = None
    month: Day
    currency: Text | None = None
    budgeted: Amount | None = None
    activity: Amount | None = None
    balance: Amount | None = None
    goal_type: Text | None = None
    goal_needs_whole_amount: Flag | None = None
    goal_day: Count | None = None
    goal_cadence: Count | None = None
    goal_cadence_frequency: Count | None = None
    goal_creation_month: Day | None = None
    goal_target: Amount | None = None
    goal_target_month: Day | None = None
    goal_target_date: Day | None = None
    goal_percentage_complete: Count | None = None
    goal_months_to_budget: Count | None = None
    goal_under_funded: Amount | None = None
    goal_overall_funded: Amount | None = None
    goal_overall_left: Amount | None = None
    goal_snoozed_at: Instant | None = None


class Category(_CategoryAmounts):
    """Amounts are those of ``month``, the UTC month in which the source last told them."""


class MonthCategory(_CategoryAmounts):
    """A category in one month. Id: ``<budget id>/<month>/<category id>``."""

    category_id: Text


class Month(_Part):
    """A month of a budget. Id: ``<budget id>/<month>``, the month by its first day."""

    month: Day
    note: Text | None = None
    currency: Text | None = None
    income: Amount | None = None
    budgeted: Amount | None = None
    activity: Amount | None = None
    to_be_budgeted: Amount | None = None
    age_of_money: Count | None = None


class Payee(_Part):
    """``transfer_account_id``: this payee stands for a transfer to that account."""

    name: Text
    transfer_account_id: Text | None = None


class PayeeLocation(_Part):
    """``latitude``, ``longitude``: as the source writes them."""

    payee_id: Text
    latitude: Text | None = None
    longitude: Text | None = None


class _Line(_Part):
    """What a transaction and a line of a split have in common."""

    amount: Amount
    currency: Text | None = None
    memo: Text | None = None
    payee_id: Text | None = None
    category_id: Text | None = None
    transfer_account_id: Text | None = None


class Transaction(_Line):
    """``subtransaction_ids``: the complete set of a split's lines, where the source told it.

    A transfer is two transactions that name each other in ``transfer_transaction_id``.
    ``date``: of a pending bank transaction the day it happened, of a posted one the posting day.
    ``pending_transaction_id``: the pending transaction that this posted one replaced.
    ``payee_name``: of bank transactions; YNAB's payees have ``payee_id``.
    """

    account_id: Text
    date: Day
    cleared: Text | None = None
    approved: Flag | None = None
    flag_color: Text | None = None
    flag_name: Text | None = None
    transfer_transaction_id: Text | None = None
    matched_transaction_id: Text | None = None
    import_id: Text | None = None
    import_payee_name: Text | None = None
    import_payee_name_original: Text | None = None
    debt_transaction_type: Text | None = None
    subtransaction_ids: Json | None = None
    payee_name: Text | None = None
    pending: Flag | None = None
    pending_transaction_id: Text | None = None
    unofficial_currency: Text | None = None
    authorized_date: Day | None = None
    authorized_datetime: Instant | None = None
    datetime: Instant | None = None
    name: Text | None = None
    merchant_name: Text | None = None
    merchant_entity_id: Text | None = None
    original_description: Text | None = None
    category_primary: Text | None = None
    category_detailed: Text | None = None
    category_confidence: Text | None = None
    category_version: Text | None = None
    payment_channel: Text | None = None
    transaction_code: Text | None = None
    check_number: Text | None = None
    account_owner: Text | None = None
    location: Json | None = None
    payment_meta: Json | None = None
    counterparties: Json | None = None


class Subtransaction(_Line):
    """A line of a split transaction, which may itself be a transfer."""

    transaction_id: Text
    transfer_transaction_id: Text | None = None


class ScheduledTransaction(_Line):
    """A transaction to come. ``frequency``: YNAB's words."""

    account_id: Text
    date_first: Day | None = None
    date_next: Day
    frequency: Text | None = None
    flag_color: Text | None = None
    flag_name: Text | None = None
    subtransaction_ids: Json | None = None


class ScheduledSubtransaction(_Line):
    """A line of a scheduled split transaction."""

    scheduled_transaction_id: Text


class MoneyMovementGroup(_Part):
    """Movements that were made together."""

    month: Day | None = None
    group_created_at: Instant | None = None
    note: Text | None = None
    performed_by_user_id: Text | None = None


class MoneyMovement(_Part):
    """Money moved from one category to another."""

    month: Day | None = None
    moved_at: Instant | None = None
    note: Text | None = None
    money_movement_group_id: Text | None = None
    performed_by_user_id: Text | None = None
    from_category_id: Text | None = None
    to_category_id: Text | None = None
    currency: Text | None = None
    amount: Amount


class Balance(_Part):
    """The history of bank balances: one row each time one changed. Id: ``<account id>@<time>``.

    ``current``: what is there; a debt is negative. ``as_of``: when the bank said so, else when it
    was read.
    """

    account_id: Text
    as_of: Instant
    current: Amount | None = None
    available: Amount | None = None
    credit_limit: Amount | None = None
    currency: Text | None = None
    unofficial_currency: Text | None = None


BUDGETS = Entity("budget.budgets", Budget)
ACCOUNTS = Entity("budget.accounts", Account)
CATEGORY_GROUPS = Entity("budget.category_groups", CategoryGroup)
CATEGORIES = Entity("budget.categories", Category)
MONTHS = Entity("budget.months", Month)
MONTH_CATEGORIES = Entity("budget.month_categories", MonthCategory)
PAYEES = Entity("budget.payees", Payee)
PAYEE_LOCATIONS = Entity("budget.payee_locations", PayeeLocation)
TRANSACTIONS = Entity(
    "budget.transactions",
    Transaction,
    hashed=True,
    hash_account="account_id",
    hash_texts=("payee_name", "payee_id", "memo"),
)
SUBTRANSACTIONS = Entity("budget.subtransactions", Subtransaction)
SCHEDULED_TRANSACTIONS = Entity("budget.scheduled_transactions", ScheduledTransaction)
SCHEDULED_SUBTRANSACTIONS = Entity("budget.scheduled_subtransactions", ScheduledSubtransaction)
MONEY_MOVEMENT_GROUPS = Entity("budget.money_movement_groups", MoneyMovementGroup)
MONEY_MOVEMENTS = Entity("budget.money_movements", MoneyMovement)
BALANCES = Entity("budget.balances", Balance)

ENTITIES = (
    BUDGETS,
    ACCOUNTS,
    CATEGORY_GROUPS,
    CATEGORIES,
    MONTHS,
    MONTH_CATEGORIES,
    PAYEES,
    PAYEE_LOCATIONS,
    TRANSACTIONS,
    SUBTRANSACTIONS,
    SCHEDULED_TRANSACTIONS,
    SCHEDULED_SUBTRANSACTIONS,
    MONEY_MOVEMENT_GROUPS,
    MONEY_MOVEMENTS,
    BALANCES,
)
