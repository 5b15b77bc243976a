"""What the server's refusals mean: taken for a lost position, a passing one costs a whole read."""

from typing import Any

import pytest
from pymongo.errors import OperationFailure

from cdc.runtime.errors import Gap, LedgerError, Unavailable, Unfit
from cdc.sources.mongo_faults import mapped


def found(code: int, *labels: str, at_open: bool = True) -> LedgerError:
    """What a refusal becomes, of a command that hands a stored token over or not."""
    details: dict[str, Any] = {"ok": 0, "code": code, "errorLabels": list(labels)}
    with (
        pytest.raises(LedgerError) as caught,
        mapped("open change stream", subject="mongo", at_open=at_open),
    ):
        raise OperationFailure("no", code, details)
    return caught.value


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (6, "HostUnreachable"),
        (46, "LockBusy"),
        (91, "ShutdownInProgress"),
        (146, "ExceededMemoryLimit"),
        (189, "PrimarySteppedDown"),
        (211, "KeyNotFound"),
        (262, "ExceededTimeLimit"),
        (279, "ClientDisconnect"),
        (355, "InterruptedDueToStorageChange"),
        (365, "TemporarilyUnavailable"),
        (402, "ResourceExhausted"),
        (407, "PooledConnectionAcquisitionExceededTimeLimit"),
        (433, "AdmissionQueueOverflow"),
        (449, "RateLimitExceeded"),
        (450, "PooledConnectionAcquisitionRejected"),
        (453, "InterruptedDueToReshardingCriticalSection"),
        (462, "IngressRequestRateLimitExceeded"),
        (463, "IngressOperationRateLimitExceeded"),
        (473, "InterruptedDueToOverload"),
        (10058, "LegacyNotPrimary"),
        (11600, "InterruptedAtShutdown"),
        (46841, "ClientMarkedKilled"),
        (91331, "RetriableRemoteCommandFailure"),
        (10045600, "InterruptedDueToFCVChange"),
    ],
)
def test_a_passing_refusal_of_a_token_is_tried_again(code: int, name: str) -> None:
    assert type(found(code)) is Unavailable, name


@pytest.mark.parametrize(
    "label", ["ResumableChangeStreamError", "RetryableError", "SystemOverloadedError"]
)
def test_what_the_server_calls_passing_is_tried_again(label: str) -> None:
    assert type(found(99_999, label)) is Unavailable


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (1, "InternalError"),
        (8, "UnknownError"),
        (9, "FailedToParse"),
        (96, "OperationFailed"),
        (125, "CommandFailed"),
        (260, "InvalidResumeToken"),
        (280, "ChangeStreamFatalError"),
        (286, "ChangeStreamHistoryLost"),
        (40647, "a number of its own"),
    ],
)
def test_every_other_refusal_of_a_token_is_a_lost_position(code: int, name: str) -> None:
    assert type(found(code)) is Gap, name


@pytest.mark.parametrize("label", ["RetryableError", "SystemOverloadedError"])
def test_a_lost_position_stays_lost_whatever_is_written_on_it(label: str) -> None:
    assert type(found(286, label)) is Gap


@pytest.mark.parametrize("code", [11, 13, 18, 8000])
def test_rights_and_logins_need_a_person(code: int) -> None:
    assert type(found(code)) is Unfit


@pytest.mark.parametrize("code", [1, 8, 9, 96, 125, 40647])
def test_without_a_token_nothing_is_lost(code: int) -> None:
    assert type(found(code, at_open=False)) is Unavailable
