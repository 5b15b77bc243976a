"""Kafka's errors, mapped once to our tree (``cdc.runtime.errors``).

Broker codes are taken by number where aiokafka has no class of its own for them (it shows them
as ``UnknownError``). A test goes through every error of the pinned client and finds the unmapped.
"""

import ssl
import struct

from aiokafka import errors as kafka

from cdc.runtime.errors import (
    BrokenPromise,
    Doubt,
    Fenced,
    Gap,
    LedgerError,
    Refused,
    Unavailable,
    Unfit,
)


class FencedInstanceIdError(kafka.BrokerResponseError):
    """Another member has joined with our static name (protocol guide, code 82)."""

    errno = 82
    message = "FENCED_INSTANCE_ID"


kafka.kafka_errors.setdefault(FencedInstanceIdError.errno, FencedInstanceIdError)

_KINDS: dict[type[LedgerError], tuple[type[BaseException], ...]] = {
    Unavailable: (
        kafka.KafkaConnectionError,
        kafka.KafkaUnavailableError,
        kafka.KafkaTimeoutError,
        kafka.KafkaProtocolError,
        kafka.NoBrokersAvailable,
        kafka.NodeNotReadyError,
        kafka.StaleMetadata,
        kafka.MetadataEmptyBrokerList,
        kafka.TooManyInFlightRequests,
        kafka.Cancelled,
        kafka.CommitFailedError,
        kafka.QuotaViolationError,
        kafka.UnknownError,
        kafka.LeaderNotAvailableError,
        kafka.NotLeaderForPartitionError,
        kafka.RequestTimedOutError,
        kafka.BrokerNotAvailableError,
        kafka.ReplicaNotAvailableError,
        kafka.StaleControllerEpochError,
        kafka.StaleLeaderEpochCodeError,
        kafka.GroupLoadInProgressError,
        kafka.GroupCoordinatorNotAvailableError,
        kafka.NotCoordinatorForGroupError,
        kafka.NotEnoughReplicasError,
        kafka.NotEnoughReplicasAfterAppendError,
        kafka.IllegalGenerationError,
        kafka.UnknownMemberIdError,
        kafka.RebalanceInProgressError,
        kafka.MemberIdRequired,
        kafka.NotControllerError,
        kafka.ConcurrentTransactions,
        kafka.TransactionCoordinatorFenced,
        kafka.OperationNotAttempted,
        kafka.KafkaStorageError,
        kafka.LogDirNotFound,
        kafka.ReassignmentInProgress,
        kafka.FetchSessionIdNotFound,
        kafka.InvalidFetchSessionEpoch,
        kafka.ListenerNotFound,
        OSError,
        EOFError,
        TimeoutError,
    ),
    Unfit: (
        kafka.UnrecognizedBrokerVersion,
        kafka.IncompatibleBrokerVersion,
        kafka.UnsupportedVersionError,
        kafka.AuthenticationMethodNotSupported,
        kafka.AuthenticationFailedError,
        kafka.SaslAuthenticationFailed,
        kafka.UnsupportedSaslMechanismError,
        kafka.IllegalSaslStateError,
        kafka.SecurityDisabled,
        kafka.DelegationTokenAuthDisabled,
        kafka.DelegationTokenNotFound,
        kafka.DelegationTokenOwnerMismatch,
        kafka.DelegationTokenRequestNotAllowed,
        kafka.DelegationTokenAuthorizationFailed,
        kafka.DelegationTokenExpired,
        kafka.InvalidPrincipalType,
        kafka.TopicAuthorizationFailedError,
        kafka.GroupAuthorizationFailedError,
        kafka.ClusterAuthorizationFailedError,
        kafka.TransactionalIdAuthorizationFailed,
        kafka.UnknownTopicOrPartitionError,
        kafka.InvalidTopicError,
        kafka.InvalidPartitionsError,
        kafka.InvalidReplicationFactorError,
        kafka.InvalidReplicationAssignmentError,
        kafka.InvalidConfigurationError,
        kafka.KafkaConfigurationError,
        kafka.PolicyViolationError,
        kafka.InvalidRequiredAcksError,
        kafka.InvalidTransactionTimeout,
        kafka.InvalidSessionTimeoutError,
        kafka.InconsistentGroupProtocolError,
        kafka.InvalidGroupIdError,
        kafka.GroupIdNotFound,
        kafka.NonEmptyGroup,
        kafka.UnsupportedCodecError,
        kafka.UnsupportedForMessageFormatError,
        ssl.SSLError,
        NotImplementedError,  # aiokafka: both sides speak no common version of a request
    ),
    Doubt: (
        kafka.OutOfOrderSequenceNumber,
        kafka.DuplicateSequenceNumber,
        kafka.InvalidTxnState,
        kafka.InvalidProducerIdMapping,
        kafka.UnknownProducerId,
    ),
    Fenced: (kafka.ProducerFenced, kafka.InvalidProducerEpoch, FencedInstanceIdError),
    Gap: (kafka.OffsetOutOfRangeError, kafka.NoOffsetForPartitionError),
    Refused: (
        kafka.CorruptRecordException,
        kafka.MessageSizeTooLargeError,
        kafka.RecordListTooLargeError,
        kafka.RecordTooLargeError,
        kafka.InvalidTimestampError,
        kafka.OffsetMetadataTooLargeError,
        kafka.InvalidCommitOffsetSizeError,
    ),
    BrokenPromise: (
        kafka.IllegalStateError,
        kafka.IllegalArgumentError,
        kafka.IllegalOperation,
        kafka.InvalidRequestError,
        kafka.InvalidFetchRequestError,
        kafka.ProducerClosed,
        kafka.ConsumerStoppedError,
        kafka.TopicAlreadyExistsError,
        AssertionError,
    ),
}
_STUMBLES = (AssertionError, LookupError, ValueError, struct.error)
"""What reading an answer that is none may raise; any other mistake inside the client is a bug."""

NO_LEADER_YET = (
    kafka.LeaderNotAvailableError,
    kafka.NotLeaderForPartitionError,
    kafka.ReplicaNotAvailableError,
    kafka.UnknownTopicOrPartitionError,
)
"""A partition's leader moves, or has not heard of it yet; the last of a topic that was found."""
LEADER_SECONDS_MAX = 5.0
"""A partition gets its leader, or another, in far less; until then it is asked again."""

_KIND_OF = {error: kind for kind, errors in _KINDS.items() for error in errors}

# Codes of newer brokers that aiokafka 0.14 does not know (protocol guide, "Error Codes").
_UNNAMED_CODES: dict[int, tuple[str, type[LedgerError]]] = {
    74: ("FencedLeaderEpoch", Unavailable),
    75: ("UnknownLeaderEpoch", Unavailable),
    76: ("UnsupportedCompressionType", Unfit),
    81: ("GroupMaxSizeReached", Unfit),
    87: ("InvalidRecord", Refused),
    89: ("ThrottlingQuotaExceeded", Unavailable),
    90: ("ProducerFenced", Fenced),
    100: ("UnknownTopicId", Unfit),
    120: ("TransactionAbortable", Doubt),
}


def kind_of(error: BaseException) -> type[LedgerError] | None:
    """The branch of our tree for an error of the client or the network; None: not mapped."""
    if isinstance(error, LedgerError):
        return type(error)
    return _kind(_behind(error))


def mapped(
    error: BaseException, operation: str, *, subject: str = "", hint: str = ""
) -> LedgerError:
    """The error of our tree that says the same; ours pass; what is unknown stops."""
    if isinstance(error, LedgerError):
        return error
    kind = kind_of(error) or BrokenPromise
    return kind(_text(_behind(error)), operation=operation, subject=subject, hint=hint)


def code_name(code: int) -> str:
    """The name of a broker's error code, as ``MessageSizeTooLarge``."""
    if code in _UNNAMED_CODES:
        return _UNNAMED_CODES[code][0]
    error = kafka.for_code(code)
    if error is kafka.UnknownError and code != kafka.UnknownError.errno:
        return f"code {code}"
    return error.__name__.removesuffix("Error").removesuffix("Exception")


def code_kind(code: int) -> type[LedgerError]:
    """The branch of our tree for a broker's error code; unknown ones may pass by themselves."""
    if code in _UNNAMED_CODES:
        return _UNNAMED_CODES[code][1]
    return kind_of(kafka.for_code(code)()) or BrokenPromise


def _kind(error: BaseException) -> type[LedgerError] | None:
    if type(error) is kafka.KafkaError:  # an answer that the client did not expect
        return Unavailable
    for base in type(error).__mro__:
        if base in _KIND_OF:
            return _KIND_OF[base]
    return None


def _behind(error: BaseException) -> BaseException:
    """What the client wrapped as "connection closed", or because it did not expect it.

    What it stumbled over (a frame that is none of Kafka's, a cluster that names no broker) stays
    wrapped: whoever holds the client makes a new one and tries again.
    """
    if type(error) in (kafka.KafkaError, kafka.KafkaConnectionError):
        cause = error.__cause__
        return error if cause is None or isinstance(cause, _STUMBLES) else _behind(cause)
    return error


def _text(error: BaseException) -> str:
    name = type(error).__name__
    text = str(error).strip()
    if isinstance(error.__cause__, _STUMBLES):
        text = f"{text} ({error.__cause__!r})"
    return text if name in text else f"{name}: {text}" if text else name
