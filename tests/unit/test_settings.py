"""What a person may write, and what they are told where it is wrong."""

from pathlib import Path

import pytest

from cdc.runtime.postgres import PostgresTarget
from cdc.runtime.settings_reader import FaultySettings
from cdc.settings import MongoSettings, Settings, YnabSettings, load

POSTGRES = "postgresql://ledger:hunter2@db:5432/ledger"
MONGO = "mongodb://ledger:hunter2@mongo:27017/company?replicaSet=rs0"


def faults(toml: str = "", *, tmp_path: Path, flags: tuple[str, ...] = (), **env: str) -> list[str]:
    file = tmp_path / "ledger.toml"
    file.write_text(toml)
    with pytest.raises(FaultySettings) as caught:
        load(file, flags, env)
    return [str(fault) for fault in caught.value.faults]


def loaded(toml: str = "", *, tmp_path: Path, flags: tuple[str, ...] = (), **env: str) -> Settings:
    file = tmp_path / "ledger.toml"
    file.write_text(toml)
    return load(file, flags, env)


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    toml = 'book = "file"\n[kafka]\ntopic_prefix = "file"\nbootstrap_servers = "file:1"'
    env = {"CDC_KAFKA__TOPIC_PREFIX": "env", "CDC_BOOK": "env"}
    found = loaded(toml, tmp_path=tmp_path, flags=("book=flag",), **env)
    assert (found.book, found.kafka.topic_prefix) == ("flag", "env")
    assert found.kafka.bootstrap_servers == "file:1"


def test_the_configuration_file_may_be_named_by_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "other.toml"
    file.write_text('book = "acme"')
    assert load(None, (), {"CDC_CONFIG": str(file)}).book == "acme"


def test_a_named_file_that_does_not_exist_is_told(tmp_path: Path) -> None:
    with pytest.raises(FaultySettings, match=r"none\.toml: there is no such file"):
        load(tmp_path / "none.toml", (), {})


def test_a_file_that_is_not_toml_is_told_with_its_line(tmp_path: Path) -> None:
    (told,) = faults('book = "a"\n[kafka\n', tmp_path=tmp_path)
    assert "is not TOML" in told
    assert "line 2" in told


def test_unknown_keys_name_themselves_and_the_nearest_right_one(tmp_path: Path) -> None:
    toml = f'[kafka]\nbootstrap_server = "k:1"\n[sources.p]\ntype = "mongodb"\nurl = "{MONGO}"'
    told = faults(toml, tmp_path=tmp_path, CDC_KAFKA__TOPIC_PREFI="x")
    assert any("kafka.bootstrap_server (" in one and "bootstrap_servers?" in one for one in told)
    assert any("sources.p.url (" in one and "did you mean uri?" in one for one in told)
    assert any("CDC_KAFKA__TOPIC_PREFI" in one and "topic_prefix?" in one for one in told)


def test_everything_wrong_is_told_at_once(tmp_path: Path) -> None:
    toml = """
        book = "two words"
        [kafka]
        bootstrap_servers = "nowhere"
        partitions = { "accounting.payments" = 3 }
        [targets.main]
        dsn = "mysql://h/x"
        [targets.other]
        domains = ["acounting"]
        [http]
        listen = "8080"
        [sources.a]
        type = "mongdb"
        [sources.b]
        type = "mongodb"
        uri = "mongodb://h:27017"
        [sources.c]
        type = "plaid"
    """
    places = [told.split(" ")[0] for told in faults(toml, tmp_path=tmp_path)]
    assert set(places) == {
        "book",
        "kafka.bootstrap_servers",
        "kafka.partitions",
        "targets.main.dsn",
        "targets.other.dsn",
        "targets.other.domains.0",
        "http.listen",
        "sources.a.type",
        "sources.b.uri",
        "sources.c.client_id",
        "sources.c.secret",
    }


def test_a_mapping_of_wrong_form_does_not_hide_what_is_wrong_with_the_others(
    tmp_path: Path,
) -> None:
    toml = """
        [targets.main]
        dsn = "postgresql://h/x"
        [sources.b]
        type = "mongodb"
        uri = "mongodb://h:27017/x"
        [[sources.b.mappings]]
        colection = "payments"
        entity = "accounting.transactions"
        fields = { id = "_id" }
        [[sources.b.mappings]]
        collection = "users"
        entity = "accounting.owners"
        fields = { id = "_id", nmae = "name" }
    """
    places = [told.split(" ")[0] for told in faults(toml, tmp_path=tmp_path)]
    assert set(places) == {
        "sources.b.mappings.0.colection",
        "sources.b.mappings.0.collection",
        "sources.b.mappings.0.fields.amount",
        "sources.b.mappings.0.fields.type",
        "sources.b.mappings.1.fields.nmae",
    }


def test_a_part_of_wrong_form_does_not_hide_the_rest_of_its_mapping(tmp_path: Path) -> None:
    """Each fault once, and none that only comes of leaving the wrong part out."""
    toml = """
        [targets.main]
        dsn = "postgresql://h/x"
        [sources.b]
        type = "mongodb"
        uri = "mongodb://h:27017/x"
        [[sources.b.mappings]]
        collection = "payments"
        entity = "accounting.transactions"
        comment = "unknown"
        [sources.b.mappings.fields]
        id = 5
        amount = { pth = "amount" }
        type = "kind"
        propertyid = "p"
        date = { path = "d", zone = "Europe/Madird" }
        [[sources.b.mappings]]
        collection = "fees"
        entity = "accounting.transactions"
        rwos = "fees[]"
        fields = { id = "^._id", amount = "^.a", nonsense = "b" }
    """
    told = faults(toml, tmp_path=tmp_path)
    places = [each.split(" ")[0].removeprefix("sources.b.mappings.") for each in told]
    assert sorted(places) == [
        "0.comment",
        "0.fields.amount.pth",
        "0.fields.date.zone",
        "0.fields.id",
        "0.fields.propertyid",
        "1.rwos",
    ], told


@pytest.mark.parametrize(
    ("toml", "told"),
    [
        ('[kafka]\nsecurity_protocol = "SASL_SSL"', "sasl_mechanism, sasl_username, sasl_password"),
        ('[kafka]\nssl_cafile = "/no/such/ca.pem"', "there is no such file"),
        ('[targets.main]\ndsn = "postgresql://h:5432"', "names no database"),
        ('[targets.main]\ndsn = "postgresql://h:many/x"', "port"),
        ('[targets.main]\ndsn = "postgresql://h:1,other:many/x"', "port"),
        ('[sources.p]\ntype = "mongodb"\nuri = "mongodb://h:1x/db"', "no port where one must be"),
        ('[sources.p]\ntype = "mongodb"\nuri = "http://h/db"', "is not a MongoDB URI"),
        ('[sources.p]\nuri = "mongodb://h/db"', "sources.p.type"),
        ("[sources]\np = 3", "sources.p"),
        ('[kafka]\nreplication_factor = "many"', "valid integer"),
    ],
)
def test_values_that_cannot_be(toml: str, told: str, tmp_path: Path) -> None:
    assert any(told in one for one in faults(toml, tmp_path=tmp_path))


def test_a_primary_and_its_standbys_are_one_target(tmp_path: Path) -> None:
    """Which of them takes writes is asked at each connection: a fail-over needs no new setting."""
    dsn = "postgresql://u@first:5432,second:5433/ledger"
    settings = loaded(f'[targets.main]\ndsn = "{dsn}"', tmp_path=tmp_path)
    assert settings.targets["main"].dsn.get_secret_value() == dsn
    assert PostgresTarget(dsn=dsn).subject == "first:5432,second:5433/ledger"


def test_two_targets_may_not_write_the_same_tables(tmp_path: Path) -> None:
    toml = f'[targets.a]\ndsn = "{POSTGRES}"\n[targets.b]\ndsn = "{POSTGRES}"'
    (told,) = faults(toml, tmp_path=tmp_path)
    assert "a and b both write accounting, budget" in told
    apart = toml.replace("[targets.b]", 'domains = ["budget"]\n[targets.b]')
    assert faults(apart, tmp_path=tmp_path)
    apart += '\ndomains = ["accounting"]'
    assert set(loaded(apart, tmp_path=tmp_path).targets) == {"a", "b"}


def test_no_secret_is_in_any_fault(tmp_path: Path) -> None:
    toml = """
        [kafka]
        sasl_password = 5
        [targets.main]
        dsn = "postgresql://u:hunter2@h:bad/x"
        [targets.second]
        dsn = "postgresql://u:hunter2/more@h:bad/x"
        [targets.third]
        dsn = "u:hunter2"
        [sources.m]
        type = "mongodb"
        uri = "mongodb://u:hunter2@h:bad/x"
        [sources.y]
        type = "ynab"
        token = ["hunter2"]
        [sources.p]
        type = "plaid"
        client_id = "a"
        secret = "b"
        items = [{ name = "x", access_token = { hunter2 = "hunter2" } }]
    """
    told = faults(toml, tmp_path=tmp_path)
    assert len(told) == 7
    assert "hunter2" not in "".join(told)


def test_secrets_do_not_show_in_the_tree(tmp_path: Path) -> None:
    found = loaded(tmp_path=tmp_path, MONGODB_URI=MONGO, DATABASE_URL=POSTGRES)
    assert "hunter2" not in repr(found)
    assert "***" in repr(found)
    assert set(found.secrets()) == {MONGO, POSTGRES}


def test_secrets_are_read_from_files(tmp_path: Path) -> None:
    dsn, token = tmp_path / "dsn", tmp_path / "token"
    dsn.write_text(POSTGRES + "\n")
    token.write_text("tok")
    found = loaded(
        tmp_path=tmp_path,
        CDC_TARGETS__MAIN__DSN_FILE=str(dsn),
        YNAB_PERSONAL_ACCESS_TOKEN_FILE=str(token),
    )
    assert found.targets["main"].dsn.get_secret_value() == POSTGRES
    source = found.sources["ynab"]
    assert isinstance(source, YnabSettings)
    assert source.token.get_secret_value() == "tok"


def test_a_secret_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (told,) = faults(tmp_path=tmp_path, CDC_CONTROL__DSN_FILE="/no/such/secret")
    assert "CDC_CONTROL__DSN_FILE" in told
    both = faults(tmp_path=tmp_path, CDC_CONTROL__DSN_FILE="x", CDC_CONTROL__DSN=POSTGRES)
    assert "keep one" in both[0]


def test_plain_names_make_source_target_and_brokers(tmp_path: Path) -> None:
    found = loaded(
        tmp_path=tmp_path,
        MONGODB_URI=MONGO,
        DATABASE_URL=POSTGRES,
        KAFKA_BOOTSTRAP_SERVERS="k:9092",
        YNAB_PERSONAL_ACCESS_TOKEN="tok",
    )
    source = found.sources["property"]
    assert isinstance(source, MongoSettings)
    assert source.uri.get_secret_value() == MONGO
    assert found.targets["main"].domains == ("accounting", "budget")
    assert found.kafka.bootstrap_servers == "k:9092"
    assert found.sources["ynab"].type == "ynab"
    assert found.control_dsn == POSTGRES


def test_plain_names_are_silent_where_something_else_says_it(tmp_path: Path) -> None:
    toml = f"""
        [sources.buildings]
        type = "mongodb"
        uri = "mongodb://other/company"
        [targets.main]
        dsn = "{POSTGRES}"
        [kafka]
        bootstrap_servers = "file:1"
        [sync]
        enabled = true
    """
    found = loaded(
        toml,
        tmp_path=tmp_path,
        MONGODB_URI=MONGO,
        DATABASE_URL="postgresql://h/other",
        KAFKA_BOOTSTRAP_SERVERS="env:1",
        SYNC_ENABLED="false",
    )
    assert list(found.sources) == ["buildings"]
    assert found.targets["main"].dsn.get_secret_value() == POSTGRES
    assert found.kafka.bootstrap_servers == "file:1"
    assert found.sync.enabled


def test_a_source_named_property_without_uri_takes_the_plain_name(tmp_path: Path) -> None:
    toml = '[sources.property]\ntype = "mongodb"\nbook = "acme"'
    found = loaded(toml, tmp_path=tmp_path, MONGODB_URI=MONGO)
    assert found.sources["property"].book == "acme"


def test_the_accounting_database_is_a_target_of_its_own(tmp_path: Path) -> None:
    other = "postgresql://h/accounting"
    both = loaded(tmp_path=tmp_path, DATABASE_URL=POSTGRES, ACCOUNTING_DB_URI=other)
    assert both.targets["accounting"].domains == ("accounting",)
    assert both.targets["main"].domains == ("budget",)
    assert both.control_dsn == POSTGRES
    alone = loaded(tmp_path=tmp_path, ACCOUNTING_DB_URI=other)
    assert list(alone.targets) == ["accounting"]
    assert alone.control_dsn == other


@pytest.mark.parametrize("name", ["SYNC_ENABLED", "REAL_TIME_SYNC_ENABLED"])
def test_sources_start_paused_where_sync_is_off(name: str, tmp_path: Path) -> None:
    assert loaded(tmp_path=tmp_path, **{name: "false"}).sync.sources_start_paused
    assert not loaded(tmp_path=tmp_path, **{name: "1"}).sync.sources_start_paused
    assert not loaded(tmp_path=tmp_path, SCHEDULED_SYNC_ENABLED="no").sync.scheduled


def test_the_environment_reaches_names_with_dashes_lists_and_tables(tmp_path: Path) -> None:
    toml = f"""
        [sources.my-bank]
        type = "plaid"
        client_id = "c"
        secret = "s"
        items = [{{ name = "one", access_token = "x" }}]
        [sources.Houses]
        type = "mongodb"
        uri = "{MONGO}"
    """
    found = loaded(
        toml,
        tmp_path=tmp_path,
        CDC_SOURCES__MY_BANK__ITEMS__0__ACCESS_TOKEN="y",
        CDC_SOURCES__HOUSES__SETTLED_STATUSES="paid, done",
        CDC_KAFKA__PARTITIONS='{"accounting.owners": 2}',
    )
    bank, houses = found.sources["my-bank"], found.sources["Houses"]
    assert bank.type == "plaid"
    assert bank.items[0].access_token.get_secret_value() == "y"
    assert isinstance(houses, MongoSettings)
    assert houses.settled_statuses == ("paid", "done")
    assert found.kafka.partitions == {"accounting.owners": 2}


def test_kubernetes_service_links_are_no_settings(tmp_path: Path) -> None:
    links = {"CDC_SERVICE_HOST": "10.0.0.1", "CDC_PORT_8080_TCP_ADDR": "10.0.0.1"}
    assert loaded(tmp_path=tmp_path, **links, CDC_PORT="tcp://10.0.0.1:8080").book == "default"


def test_a_book_of_a_source_overrides_the_one_above(tmp_path: Path) -> None:
    toml = f"""
        book = "acme"
        [sources.a]
        type = "mongodb"
        uri = "{MONGO}"
        [sources.b]
        type = "mongodb"
        uri = "{MONGO}"
        book = "home"
    """
    found = loaded(toml, tmp_path=tmp_path)
    assert [source.book for source in found.sources.values()] == ["acme", "home"]


@pytest.mark.parametrize("token", ["…", "tok en", "tok\nen", ""])
def test_what_no_header_can_carry_is_no_credential(tmp_path: Path, token: str) -> None:
    (fault,) = faults(
        tmp_path=tmp_path, YNAB_PERSONAL_ACCESS_TOKEN="tok", CDC_SOURCES__YNAB__TOKEN=token
    )
    assert "sources.ynab.token" in fault
    assert "copy it whole" in fault
