"""What the publisher relies on inside the pinned client, and the map of Kafka's errors."""

import inspect
import struct
import subprocess
import sys

import aiokafka
import aiokafka.errors
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.producer import sender
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from cdc.publisher import Publisher
from cdc.runtime import errors, kafka_tuning
from cdc.runtime.kafka import KafkaConnection
from cdc.runtime.kafka_errors import code_kind, code_name, kind_of, mapped
from compose.stack.names import REPOSITORY

BASES = {"KafkaError", "BrokerResponseError", "NoError"}


CLIENT_ERRORS = [
    value
    for name, value in vars(aiokafka.errors).items()
    if inspect.isclass(value) and issubclass(value, Exception) and name not in BASES
]


@pytest.mark.parametrize("error", CLIENT_ERRORS, ids=lambda error: error.__name__)
def test_every_error_of_the_client_is_mapped(error: type[BaseException]) -> None:
    assert kind_of(error()) is not None


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ConnectionRefusedError(), errors.Unavailable),
        (TimeoutError(), errors.Unavailable),
        (aiokafka.errors.ProducerFenced(), errors.Fenced),
        (aiokafka.errors.InvalidProducerEpoch(), errors.Fenced),
        (aiokafka.errors.OutOfOrderSequenceNumber(), errors.Doubt),
        (aiokafka.errors.MessageSizeTooLargeError(), errors.Refused),
        (aiokafka.errors.TopicAuthorizationFailedError(), errors.Unfit),
        (aiokafka.errors.OffsetOutOfRangeError(), errors.Gap),
        (ZeroDivisionError(), errors.BrokenPromise),
    ],
)
def test_an_error_says_what_is_to_be_done(
    error: BaseException, kind: type[errors.LedgerError]
) -> None:
    found = mapped(error, "publish", subject="topic:0")
    assert type(found) is kind
    assert str(found).startswith("publish topic:0: ")


def test_what_the_client_wrapped_is_judged_by_its_cause() -> None:
    wrapped = aiokafka.errors.KafkaError("Unexpected error during batch delivery")
    wrapped.__cause__ = aiokafka.errors.ClusterAuthorizationFailedError()
    assert type(mapped(wrapped, "publish")) is errors.Unfit


@pytest.mark.parametrize("wrapper", ["KafkaError", "KafkaConnectionError"])
@pytest.mark.parametrize(
    "cause",
    [
        None,
        struct.error("4 bytes"),
        IndexError(),
        UnicodeDecodeError("utf8", b"", 0, 1, "x"),
        AssertionError("Did we not perform bootstrap?"),
        KeyError("API_KEY"),
    ],
    ids=repr,
)
def test_what_the_client_stumbled_over_is_tried_again(
    wrapper: str, cause: BaseException | None
) -> None:
    """A frame that is none of Kafka's, or an answer that nobody expected, ends no daemon."""
    wrapped = getattr(aiokafka.errors, wrapper)("closed")
    wrapped.__cause__ = cause
    found = mapped(wrapped, "poll")
    assert type(found) is errors.Unavailable
    assert cause is None or repr(cause) in str(found)


def test_a_mistake_inside_the_client_stops() -> None:
    wrapped = aiokafka.errors.KafkaError("Unexpected error during batch delivery")
    wrapped.__cause__ = AttributeError("'NoneType' object has no attribute 'write'")
    found = mapped(wrapped, "publish")
    assert type(found) is errors.BrokenPromise
    assert "no attribute 'write'" in str(found)


def test_our_own_errors_pass_unchanged() -> None:
    error = errors.Gap("lost")
    assert mapped(error, "read") is error


def test_codes_that_the_client_does_not_know_have_a_name_and_a_kind() -> None:
    assert (code_name(87), code_kind(87)) == ("InvalidRecord", errors.Refused)
    assert (code_name(10), code_kind(10)) == ("MessageSizeTooLarge", errors.Refused)
    assert (code_name(9999), code_kind(9999)) == ("code 9999", errors.Unavailable)


def test_the_client_is_the_version_whose_insides_we_know() -> None:
    """`cdc.kafka.batches`, `cdc.publisher`, `cdc.runtime.kafka_*` reach into it: read its changes
    and run the fault tests before another one is pinned."""
    assert aiokafka.__version__ == "0.14.0"


def test_the_clients_constants_are_where_we_set_them() -> None:
    kafka_tuning.tune()
    assert sender.BACKOFF_OVERRIDE == kafka_tuning.TRANSACTION_BACKOFF_SECONDS
    assert "BACKOFF_OVERRIDE" in inspect.getsource(sender.AddPartitionsToTxnHandler)
    builders = sys.modules[DefaultRecordBatchBuilder.__module__]
    assert vars(builders)["zstd_encode"] is kafka_tuning._zstd


async def test_batches_are_compressed_by_our_level() -> None:
    kafka_tuning.tune()
    producer = AIOKafkaProducer(compression_type="zstd", max_batch_size=100_000)
    sizes = []
    for level in (1, 19):
        kafka_tuning.ZSTD_LEVEL, before = level, kafka_tuning.ZSTD_LEVEL
        batch = producer.create_batch()
        for number in range(500):
            text = b"%d:%d" % (number, number * number)
            batch.append(timestamp=1, key=b"key", value=text, headers=[])
        sizes.append(len(batch._build()))
        kafka_tuning.ZSTD_LEVEL = before
    await producer.stop()
    assert sizes[1] < sizes[0]


def test_transactions_are_not_used_without_assertions() -> None:
    """aiokafka guards them by `assert` alone: under -O a fenced producer would go on."""
    program = (
        "import asyncio\n"
        "from cdc.publisher import Publisher\n"
        "from cdc.runtime.kafka import KafkaConnection\n"
        "Publisher(KafkaConnection(bootstrap_servers='localhost'), transactional_id='x')\n"
    )
    ended = subprocess.run(
        [sys.executable, "-O", "-c", program], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert "SettingsError: python -O" in ended.stderr


async def test_a_publisher_that_was_not_started_is_not_used_but_may_be_closed() -> None:
    publisher = Publisher(
        KafkaConnection(bootstrap_servers="127.0.0.1:1"), transactional_id="source"
    )
    with pytest.raises(errors.BrokenPromise):
        await publisher.publish([], [])
    await publisher.close()
    await publisher.close()


def test_a_connection_does_not_show_its_password() -> None:
    connection = KafkaConnection(
        bootstrap_servers="kafka:9092",
        security_protocol="SASL_PLAINTEXT",
        sasl_username="alice",
        sasl_password="hush",
    )
    assert "hush" not in repr(connection)
    assert connection.client_options()["sasl_plain_password"] == "hush"


@pytest.mark.parametrize("servers", ["kafka:port", "kafka:9092,kafka:no"])
def test_addresses_that_cannot_be_read_are_a_setting_to_correct(servers: str) -> None:
    with pytest.raises(errors.SettingsError):
        KafkaConnection(bootstrap_servers=servers).client_options()
