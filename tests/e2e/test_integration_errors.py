"""Integration errors in a real control database: kept, counted, shown, ended."""

from cdc.integration import IntegrationErrors, Kind
from cdc.operation.integration import open_errors, store
from cdc.runtime.errors import BadAnswer, LedgerError, Unavailable
from cdc.runtime.postgres import PostgresTarget, session
from consumers.migrate import migrate
from tests.e2e.company import Company

HTML = BadAnswer("the answer is text/html, not JSON", category="not_json", operation="GET /plans")
SPLIT = Kind("plan", "transactions", "split_sum", "t1")


async def test_errors_are_kept_and_end(database: str) -> None:
    news: list[Kind] = []
    counted: list[str] = []
    errors = IntegrationErrors(news.append, counted.append)
    async with session(PostgresTarget(dsn=database).connect) as connection:
        await migrate(connection)

        async def shown() -> list[tuple[str, str, int, int]]:
            await store(connection, "household", errors)
            names = ("stream", "category", "count", "objects")
            found = await open_errors(connection)
            return sorted(tuple(each[name] for name in names) for each in found)

        for error in (HTML, HTML, Unavailable("HTTP 503"), LedgerError("no answer at all")):
            errors.failed("plan", error)
        errors.contradicts(SPLIT)
        errors.contradicts(SPLIT._replace(subject="t2"))
        both = [("plan", "not_json", 2, 0), ("plan", "split_sum", 2, 2)]
        assert await shown() == both
        assert await shown() == both  # stored once
        assert len(news) == 3 and len(counted) == 4

        errors.failed("plan", HTML)
        errors.answered("another plan")
        assert await shown() == [("plan", "not_json", 3, 0), both[1]]
        errors.answered("plan")
        errors.agrees(SPLIT)
        assert await shown() == [("plan", "split_sum", 1, 1)]

        errors = IntegrationErrors()  # the next life knows nothing of the ones before
        assert await shown() == [("plan", "split_sum", 1, 1)]
        errors.failed("plan", HTML)
        errors.read_whole("plan")
        assert await shown() == [("plan", "not_json", 4, 0)]
        errors = IntegrationErrors()
        errors.answered("plan")
        assert await shown() == []


async def test_what_could_not_be_stored_is_stored_later(database: str) -> None:
    errors = IntegrationErrors()
    errors.failed("", HTML)
    target = PostgresTarget(dsn=database)
    async with session(target.connect) as connection:
        try:
            await store(connection, "household", errors)  # there is no such table yet
        except LedgerError:
            errors.failed("", HTML)
        await migrate(connection)
        await store(connection, "household", errors)
        (found,) = await open_errors(connection)
        assert (found["count"], found["source"]) == (2, "household")


async def test_a_tombstone_of_an_unknown_id_is_in_the_status_until_it_is_told(
    company: Company,
) -> None:
    async with session(PostgresTarget(dsn=company.database).connect) as connection:
        await migrate(connection)
        await connection.execute(
            "INSERT INTO budget.payees (book, source, id, deleted) VALUES ('b', 'ynab', 'p', true)"
        )
        (shown,) = (await company.status())["integration_errors"]
        assert (shown["category"], shown["endpoint"]) == ("unknown_tombstone", "budget.payees")
        await connection.execute(
            "UPDATE budget.payees SET budget_id = 'p1', name = 'Pets', deleted = false"
        )
        assert (await company.status())["integration_errors"] == []
