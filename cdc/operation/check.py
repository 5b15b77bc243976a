"""What would stop a run? One line a check: pass, warn or fail, with the fix. Changes nothing.

``fail`` is what a start would end on; ``warn`` what a person should know before.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, NamedTuple

from cdc.building import declared_topics, kafka_connection, lacking
from cdc.kafka import topics
from cdc.runtime.errors import LedgerError, SettingsError, Unfit
from cdc.runtime.kafka_probe import probe
from cdc.settings import Settings
from schemas.topics import source_group, target_group, transactional_id

PASS, WARN, FAIL = "pass", "warn", "fail"
SUBJECTS_MAX = 3
"""So many lines may differ in their subject only; more of them are one line."""
CONFIGURATION = "configuration"
SERVER_SECONDS_MAX = 30.0
_PUBLISHING = ("write", "describe", "describe configs", "read")


class Check(NamedTuple):
    """One line. ``name``: what was looked at; ``subject``: of whom."""

    name: str
    subject: str
    outcome: str
    detail: str
    fix: str = ""


@dataclass(slots=True)
class Checked:
    """Everything that was looked at. ``mappings``: what a sample of documents would become."""

    checks: list[Check] = field(default_factory=list)
    mappings: list[dict[str, Any]] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """Of a wrong configuration first: nothing else can be right before it is."""
        failed = {each.name for each in self.checks if each.outcome == FAIL}
        if CONFIGURATION in failed:
            return SettingsError.exit_code
        return Unfit.exit_code if failed else 0

    def document(self) -> dict[str, Any]:
        """The contract's JSON."""
        return {
            "ok": self.exit_code == 0,
            "checks": [each._asdict() for each in self.checks],
            "mappings": self.mappings,
        }

    def lines(self, outcome: Callable[[str], str]) -> Iterator[str]:
        """For a person; ``outcome`` draws the word."""
        for each, subjects in self._alike():
            fix = f"; {each.fix}" if each.fix else ""
            more = f", {subjects[1]}, … ({len(subjects)})" if len(subjects) > SUBJECTS_MAX else ""
            for subject in subjects[:1] if more else subjects:
                said = f"{each.name}  {subject}{more}: {each.detail}{fix}"
                yield f"{outcome(each.outcome)}  {said}"
        for mapping in self.mappings:
            name = f"{mapping['source']} {mapping['mapping']}"
            yield f"{name}: {mapping['mapped']} of {mapping['sampled']} documents map"
            for rule in mapping["unmapped"]:
                ids = ", ".join(rule["example_ids"])
                yield f"  {rule['count']} × {rule['path']}: {rule['reason']} (as {ids})"

    def _alike(self) -> Iterator[tuple[Check, list[str]]]:
        """Neighbours that differ in their subject only, as one."""
        for _, group in groupby(self.checks, lambda each: each._replace(subject="")):
            first, *others = group
            yield first, [first.subject, *(each.subject for each in others)]


def failed(name: str, subject: str, error: LedgerError) -> Check:
    """The check that an error ended."""
    return Check(name, subject, FAIL, error.message, error.hint)


async def bounded_checks(name: str, subject: str, checking: Any) -> list[Check]:
    """Its checks, or one that says why there are none; never longer than a named time."""
    try:
        async with asyncio.timeout(SERVER_SECONDS_MAX):
            found: list[Check] = await checking
    except TimeoutError:
        return [Check(name, subject, FAIL, f"no answer within {SERVER_SECONDS_MAX:.0f} s")]
    except LedgerError as error:
        return [failed(name, subject, error)]
    return found


async def check_kafka(settings: Settings) -> list[Check]:
    """Reach, TLS, login, version, rights, transactions, and the topics as declared."""
    connection, prefix = kafka_connection(settings), settings.kafka.topic_prefix
    declared = declared_topics(settings)
    findings = await probe(
        connection,
        topics={topic.name: _PUBLISHING for topic in declared},
        transactional_ids=[
            transactional_id(prefix, source.book, name) for name, source in settings.sources.items()
        ],
        groups=[
            *(source_group(prefix, each.book, name) for name, each in settings.sources.items()),
            *(target_group(prefix, name) for name in settings.targets),
        ],
    )
    allowed = [each for each in findings if each.step == "topics" and each.ok]
    found = [
        Check(f"kafka {each.step}", each.subject, PASS if each.ok else FAIL, each.detail, each.fix)
        for each in findings
        if each not in allowed
    ]
    if allowed:
        found.append(Check("kafka rights", prefix, PASS, f"on {len(allowed)} topics"))
    if not any(each.ok for each in findings) or not all(
        each.ok for each in findings if each.step not in ("reach", "topics")
    ):
        return found
    replication = settings.kafka.replication_factor
    differences = await topics.differences(connection, declared, replication=replication)
    if not differences:
        return [*found, Check("topics", prefix, PASS, f"{len(declared)} topics are as declared")]
    return [*found, *(_topic(each) for each in differences)]


def _topic(each: topics.Difference) -> Check:
    if each.found is None:
        return Check("topics", each.topic, FAIL, "does not exist", each.fix)
    detail = f"{each.what} is {each.found}, not {each.declared}"
    return Check("topics", each.topic, FAIL, detail, each.fix)


def _names(configured: Iterable[str]) -> str:
    return ", ".join(configured) or "none"


def configured(settings: Settings) -> list[Check]:
    """It was read and fits together; but without Kafka, or without both sides, nothing runs."""
    told = f"sources {_names(settings.sources)}; targets {_names(settings.targets)}"
    found = [Check(CONFIGURATION, "settings", PASS, told)]
    for name in ("kafka", "sources", "targets"):
        one_side = name != "kafka" and (settings.sources or settings.targets)
        for each in lacking(settings, name):
            outcome = WARN if one_side else FAIL
            found.append(Check(CONFIGURATION, each.place, outcome, each.reason, each.fix))
    return found


def without_repeats(checks: Sequence[Check]) -> list[Check]:
    """The same line once."""
    return list(dict.fromkeys(checks))
