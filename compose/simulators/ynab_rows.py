"""YNAB's objects as the plan keeps them: the *Base* schemas of its OpenAPI file, field by field.

Amounts are milliunits, dates ISO texts (they sort as they are). A row never changes: an edit puts
another one in its place, so a serialised row stays good for as long as the row is there.
"""

from typing import ClassVar

import msgspec


class Row(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Any object with an id; ``money`` names its amounts, which detail answers also format."""

    money: ClassVar[tuple[str, ...]] = ()

    id: str
    deleted: bool = False


class CurrencyFormat(msgspec.Struct, frozen=True, kw_only=True):
    iso_code: str
    example_format: str
    decimal_digits: int
    decimal_separator: str
    symbol_first: bool
    group_separator: str
    currency_symbol: str
    display_symbol: bool = True


CURRENCIES = {
    each.iso_code: each
    for each in (
        CurrencyFormat(
            iso_code="USD",
            example_format="123,456.78",
            decimal_digits=2,
            decimal_separator=".",
            symbol_first=True,
            group_separator=",",
            currency_symbol="$",
        ),
        CurrencyFormat(
            iso_code="EUR",
            example_format="123.456,78",
            decimal_digits=2,
            decimal_separator=",",
            symbol_first=False,
            group_separator=".",
            currency_symbol="€",
        ),
        CurrencyFormat(
            iso_code="JPY",
            example_format="123,456",
            decimal_digits=0,
            decimal_separator=".",
            symbol_first=True,
            group_separator=",",
            currency_symbol="¥",
        ),
        CurrencyFormat(
            iso_code="KWD",
            example_format="123,456.789",
            decimal_digits=3,
            decimal_separator=".",
            symbol_first=False,
            group_separator=",",
            currency_symbol="د.ك",
        ),
    )
}


class Account(Row, frozen=True, kw_only=True, gc=False):
    money = ("balance", "cleared_balance", "uncleared_balance")

    name: str
    type: str
    on_budget: bool = True
    closed: bool = False
    note: str | None = None
    balance: int = 0
    cleared_balance: int = 0
    uncleared_balance: int = 0
    transfer_payee_id: str | None
    direct_import_linked: bool = False
    direct_import_in_error: bool = False
    last_reconciled_at: str | None = None
    debt_original_balance: int | None = None
    debt_interest_rates: dict[str, int] | None = None
    debt_minimum_payments: dict[str, int] | None = None
    debt_escrow_amounts: dict[str, int] | None = None


class Payee(Row, frozen=True, kw_only=True, gc=False):
    name: str
    transfer_account_id: str | None = None


class PayeeLocation(Row, frozen=True, kw_only=True, gc=False):
    payee_id: str
    latitude: str
    longitude: str


class CategoryGroup(Row, frozen=True, kw_only=True, gc=False):
    name: str
    hidden: bool = False
    internal: bool = False


class Category(Row, frozen=True, kw_only=True, gc=False):
    """What a category is; what it holds stands in ``MonthCategory``."""

    money = (
        "balance",
        "activity",
        "budgeted",
        "goal_target",
        "goal_under_funded",
        "goal_overall_funded",
        "goal_overall_left",
    )

    category_group_id: str
    name: str
    hidden: bool = False
    internal: bool = False
    original_category_group_id: str | None = None
    note: str | None = None
    goal_type: str | None = None
    goal_needs_whole_amount: bool | None = None
    goal_day: int | None = None
    goal_cadence: int | None = None
    goal_cadence_frequency: int | None = None
    goal_creation_month: str | None = None
    goal_target: int | None = None
    goal_target_month: str | None = None
    goal_target_date: str | None = None
    goal_percentage_complete: int | None = None
    goal_months_to_budget: int | None = None
    goal_under_funded: int | None = None
    goal_overall_funded: int | None = None
    goal_overall_left: int | None = None
    goal_snoozed_at: str | None = None


class MonthCategory(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The amounts of a category in a month."""

    month: str
    category_id: str
    budgeted: int = 0
    activity: int = 0
    balance: int = 0


class Month(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    money: ClassVar[tuple[str, ...]] = ("income", "budgeted", "activity", "to_be_budgeted")

    month: str
    note: str | None = None
    income: int = 0
    budgeted: int = 0
    activity: int = 0
    to_be_budgeted: int = 0
    age_of_money: int | None = None
    deleted: bool = False


class Transaction(Row, frozen=True, kw_only=True, gc=False):
    money = ("amount",)

    date: str
    amount: int
    memo: str | None = None
    cleared: str = "cleared"
    approved: bool = True
    flag_color: str | None = None
    flag_name: str | None = None
    account_id: str
    payee_id: str | None = None
    category_id: str | None = None
    transfer_account_id: str | None = None
    transfer_transaction_id: str | None = None
    matched_transaction_id: str | None = None
    import_id: str | None = None
    import_payee_name: str | None = None
    import_payee_name_original: str | None = None
    debt_transaction_type: str | None = None


class SubTransaction(Row, frozen=True, kw_only=True, gc=False):
    money = ("amount",)

    transaction_id: str
    amount: int
    memo: str | None = None
    payee_id: str | None = None
    category_id: str | None = None
    transfer_account_id: str | None = None
    transfer_transaction_id: str | None = None


class Scheduled(Row, frozen=True, kw_only=True, gc=False):
    money = ("amount",)

    date_first: str
    date_next: str
    frequency: str
    amount: int
    memo: str | None = None
    flag_color: str | None = None
    flag_name: str | None = None
    account_id: str
    payee_id: str | None = None
    category_id: str | None = None
    transfer_account_id: str | None = None


class ScheduledSub(Row, frozen=True, kw_only=True, gc=False):
    money = ("amount",)

    scheduled_transaction_id: str
    amount: int
    memo: str | None = None
    payee_id: str | None = None
    category_id: str | None = None
    transfer_account_id: str | None = None


class MoneyMovement(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """YNAB gives these no `deleted`."""

    money: ClassVar[tuple[str, ...]] = ("amount",)

    id: str
    month: str | None
    moved_at: str | None
    note: str | None = None
    money_movement_group_id: str | None = None
    performed_by_user_id: str | None = None
    from_category_id: str | None = None
    to_category_id: str | None = None
    amount: int


class MoneyMovementGroup(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    id: str
    group_created_at: str
    month: str
    note: str | None = None
    performed_by_user_id: str | None = None
