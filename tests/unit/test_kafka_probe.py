"""What is said of a broker that is there and would not have us."""

import pytest
from aiokafka.errors import KafkaConnectionError

from cdc.runtime.kafka import KafkaConnection
from cdc.runtime.kafka_probe import _refused


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (TimeoutError(), "gives no answer: it hangs, or does not speak PLAINTEXT"),
        (KafkaConnectionError("closed"), "does not speak PLAINTEXT (KafkaConnectionError: closed)"),
    ],
)
def test_a_silent_broker_is_not_called_a_wrong_listener(error: Exception, said: str) -> None:
    found = _refused(KafkaConnection(bootstrap_servers="127.0.0.1:9092"), "127.0.0.1:9092", error)
    assert (found.ok, found.step) == (False, "login")
    assert said in found.detail
    assert found.fix
