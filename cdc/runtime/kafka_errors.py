"""Kafka's errors, mapped once to our tree (``cdc.runtime.errors``).

Broker codes are taken by number where aiokafka has no class of its own for them (it shows them
as ``UnknownError``). A test goes through every error of the pinned client and finds the unmapped.
"""

import ssl

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
    Fenced: (kafka.ProducerFenced, kafka.InvalidProducerEpoch),
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
_KIND_OF = {error: kind for kind, errors in _KINDS.items() for error in errors}

# Codes of newer brokers that aiokafka 0.14 does not know (protocol guide, "Error Codes").
_UNNAMED_CODES: dict[int, tuple[str, type[LedgerError]]] = {
    74: ("FencedLeaderEpoch", Unavailable),
    75: ("UnknownLeaderEpoch", Unavailable),
    76: ("UnsupportedCompressionType", Unfit),
    81: ("GroupMaxSizeReached", Unfit),
    82: ("FencedInstanceId", Fenced),
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

    Its own stumbling (over a frame that is none of Kafka's, over a cluster that names no broker)
    stays wrapped: whoever holds the client makes a new one and tries again.
    """
    if type(error) in (kafka.KafkaError, kafka.KafkaConnectionError) and error.__cause__:
        behind = _behind(error.__cause__)
        return error if _kind(behind) in (None, BrokenPromise) else behind
    return error


def _text(error: BaseException) -> str:
    name = type(error).__name__
    text = str(error).strip()
    return text if name in text else f"{name}: {text}" if text else name
