"""What is stored for people: a code with parameters, read in everybody's language."""

import ast
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings
from django.core import serializers
from django.utils import timezone
from django.utils.translation import override

from devices.backup.reconcile import _drop_what_waits
from devices.explanations.cloud_messages import CLOUD_CODES, CLOUD_ERRORS, TroubleCode
from devices.explanations.error_codes import error_code
from devices.explanations.reasons import Reason, ReasonCode
from devices.homeassistant import commands
from devices.installs import requests as install_requests
from devices.installs.confirmation import snapshot_offer
from devices.models import Actor, Batch, Notice, Role, Topic
from devices.models.household import language_of
from devices.models.message import NO_MESSAGE, Message, MessageCode, MessageField
from devices.notifications.messages import sentence
from devices.planning.proposals import propose
from devices.rainmaker import error_mapping, errors
from tests.support.factories import make_node, make_offer, make_owner, make_plan, make_user, person

OTHERS = [code for code, _ in settings.LANGUAGES if code != "en"]
OURS = [code for code in MessageCode if code != MessageCode.AS_IT_STANDS]
convert = import_module("devices.migrations.0024_messages")


def filled(code: MessageCode) -> Message:
    with override("en"):
        names = re.findall(r"%\((\w+)\)s", str(code.label))
    return Message.of(code, **{name: f"<{name}>" for name in names})


def fields() -> list[MessageField]:
    models = apps.get_app_config("devices").get_models()
    return [
        field for model in models for field in model._meta.fields if isinstance(field, MessageField)
    ]


@pytest.mark.parametrize("code", OURS)
@pytest.mark.parametrize("language", OTHERS)
def test_every_message_is_read_in_the_readers_language(code: MessageCode, language: str) -> None:
    message = Message.read(Message.join([filled(code)]).as_json())
    with override(language):
        text = str(message)
    assert text != message.english
    assert sorted(re.findall(r"<\w+>", text)) == sorted(re.findall(r"<\w+>", message.english))


def test_a_message_in_a_message_is_read_too() -> None:
    inner = Message.join([Message.of(MessageCode.HUB_IN_USE), Message.of(MessageCode.HUB_OFFLINE)])
    kept = Message.of(MessageCode.QUEUE_STOPPED, words=inner).as_json()
    with override("de"):
        assert str(Message.read(kept)) == (
            "Eine Warteschlange mit Updates wurde angehalten. Der Hub ist in Betrieb. "
            "Der Hub ist offline. Er muss online sein, um neue Firmware zu erhalten."
        )


def test_no_field_for_people_takes_a_sentence() -> None:
    assert {f"{field.model.__name__}.{field.name}" for field in fields()} == {
        "AuditCheck.head_trouble",
        "Batch.why_stopped",
        "Beat.restart_reason",
        "Channel.trouble",
        "HomeAssistantHub.refusal",
        "ImageFetch.note",
        "Plan.reason",
    }
    for field in fields():
        with pytest.raises(TypeError, match="keeps a Message"):
            field.get_prep_value("Something went wrong.")
        assert field.get_prep_value(NO_MESSAGE) == ""


@pytest.mark.django_db
def test_a_message_comes_back_from_the_database_as_it_was() -> None:
    household = make_node().account.household
    message = Message.of(MessageCode.FILE_OTHER_SIZE, bytes=12, said=13)
    batch = Batch.objects.create(household=household, why_stopped=message)
    assert Batch.objects.get().why_stopped == message
    text = serializers.serialize("json", [batch])
    [again] = serializers.deserialize("json", text)
    assert isinstance(again.object, Batch)
    assert again.object.why_stopped == message
    Batch.objects.update(why_stopped=NO_MESSAGE)
    assert not Batch.objects.get().why_stopped
    assert Batch.objects.filter(why_stopped=NO_MESSAGE).exists()


@pytest.mark.parametrize(
    "kept", ["An old sentence.", "5", "[1]", '{"code": "x"}', '[{"code": "gone", "params": {}}]']
)
def test_what_is_not_understood_is_shown_as_it_stands(kept: str) -> None:
    with override("de"):
        assert str(Message.read(kept)) == kept
    assert not Message.read("")
    assert not Message.read(None)


# --- what earlier versions stored


@pytest.mark.parametrize("code", convert.SENTENCES)
def test_every_sentence_of_earlier_versions_becomes_its_code(code: str) -> None:
    names = re.findall(r"%\((\w+)\)s", convert.SENTENCES[code])
    parts = convert.recognised(convert.SENTENCES[code] % {name: f"<{name}>" for name in names})
    assert parts == [{"code": code, "params": {name: f"<{name}>" for name in names}}]
    # a text may need less than it did; what was stored for it stays
    assert set(names) >= set(filled(MessageCode(code)).parts[0][1])


def test_several_sentences_are_recognised_and_unknown_ones_left_alone() -> None:
    both = "The hub is in use. The night was over before it could be tried."
    assert [part["code"] for part in convert.recognised(both)] == ["hub_in_use", "night_over"]
    assert convert.recognised("The hub is in use. Something else.") is None


@pytest.mark.django_db
def test_old_rows_are_converted(monkeypatch: pytest.MonkeyPatch) -> None:
    # later migrations move these on: see tests/planning/test_migration.py
    moved = {"BatchItem", "Proposal"}
    kept = {name: field for name, field in convert.FIELDS.items() if name not in moved}
    monkeypatch.setattr(convert, "FIELDS", kept)
    household = make_node().account.household
    batch = Batch.objects.create(household=household)
    other = Batch.objects.create(household=household)
    write = "UPDATE devices_batch SET why_stopped = %s WHERE id = %s"
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(write, ["Stopped by Ann.", batch.pk])
        cursor.execute(write, ["Nobody knows this.", other.pk])
    notice = Notice.objects.create(
        household=household,
        topic=Topic.NEEDS_YOU,
        at=timezone.now(),
        facts={"words": "A queue of updates stopped. Stopped by Ann."},
    )
    convert.convert(OldTables(), None)
    batch.refresh_from_db()
    other.refresh_from_db()
    notice.refresh_from_db()
    with override("de"):
        assert str(batch.why_stopped) == "Angehalten durch Ann."
        assert str(other.why_stopped) == "Nobody knows this."
        assert sentence(notice).endswith("wurde angehalten. Angehalten durch Ann.")


class OldTables:
    """The tables as a migration sees them: what holds a Message today is text there."""

    def get_model(self, _app: str, name: str) -> Any:
        from django.db import connection
        from django.db.migrations.loader import MigrationLoader

        state = MigrationLoader(connection).project_state(("devices", "0024_messages"))
        return state.apps.get_model("devices", name)


# --- the five that stayed English when sentences were translated back


@pytest.mark.django_db
@pytest.mark.parametrize("language", OTHERS)
def test_why_a_hub_of_a_queue_is_skipped_is_translated(language: str) -> None:
    node = make_node()
    owner = make_owner(node.account.household)
    shown = snapshot_offer(node, make_offer(node))
    node.offers.all().delete()
    make_offer(node, fw_version="9.9.9")
    node.refresh_from_db()
    with pytest.raises(install_requests.Refused) as refused:
        install_requests.request(user=owner, node=node, binding=shown, actor=person(owner))
    english = "The cloud's offer has changed since the form was opened."
    assert refused.value.message.english == english
    with override(language):
        assert english not in str(refused.value.message)


@pytest.mark.django_db
@pytest.mark.parametrize("language", OTHERS)
def test_what_a_restore_ended_is_translated(language: str) -> None:
    node = make_node()
    batch = Batch.objects.create(household=node.account.household)
    make_plan(node, batch=batch)
    _drop_what_waits(timezone.now())
    batch.refresh_from_db()
    assert batch.items.get().reason == batch.why_stopped == Message.of(MessageCode.RESTORED)
    with override(language):
        assert "was restored" not in str(batch.why_stopped)


@pytest.mark.django_db
@pytest.mark.parametrize("language", OTHERS)
def test_a_proposal_is_mailed_in_the_language_of_the_person_who_decides(language: str) -> None:
    from devices.models import Channel
    from devices.security.encryption import encrypt

    node = make_node(name="Porch")
    household = node.account.household
    household.language = language
    household.save()
    Channel.objects.create(
        household=household, sealed_url=encrypt("json://x"), topics=[Topic.NEEDS_YOU.value]
    )
    support = make_user("ann@example.com")
    actor = Actor.person(support, role=Role.MEMBER, via="web")
    shown = snapshot_offer(node, make_offer(node))
    propose(node, user=support, binding=shown, words="", recipients=[], actor=actor)
    notice = Notice.objects.get()
    with override("en"):
        assert "ann@example.com proposes 5.3.3 for Porch. You decide." in sentence(notice)
    with override(language_of(None, household)):
        text = sentence(notice)
    assert "proposes" not in text
    assert "5.3.3" in text


# --- one text, one place


def test_the_clouds_side_says_the_same_in_english_as_pages_do() -> None:
    """Where files are fetched there is no Django: the code there must name the very sentence."""
    path = Path(settings.BASE_DIR) / "devices" / "rainmaker" / "download.py"
    named = {}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            texts = [one.value for one in node.args if isinstance(one, ast.Constant)]
            for keyword in node.keywords:
                if keyword.arg == "message_code" and isinstance(keyword.value, ast.Constant):
                    named[str(keyword.value.value)] = next(t for t in texts if isinstance(t, str))
    assert len(named) == 12
    with override("en"):
        assert named == {code: str(MessageCode(code).label) for code in named}


def test_every_message_is_used_by_the_product() -> None:
    texts = [
        path.read_text()
        for path in (Path(settings.BASE_DIR) / "devices").rglob("*.py")
        if "migrations" not in path.parts and path.name != "messages.py"
    ]
    for code in OURS:
        names = (f"MessageCode.{code.name}", f'"{code.value}"')
        assert any(name in text for name in names for text in texts), code


# --- reasons and troubles


def test_every_reason_code_is_given_by_the_product() -> None:
    given = {ReasonCode[name] for name in re.findall(r"Reason\(\s*ReasonCode\.(\w+)", product())}
    given.add(ReasonCode.NOT_SENT)  # what a plan waits for, without a reason of its own
    assert '"waits_for": ReasonCode.NOT_SENT' in product()
    assert given == set(ReasonCode)
    assert isinstance(commands.RETAINED, Reason)


def product() -> str:
    paths = (Path(settings.BASE_DIR) / "devices").rglob("*.py")
    return "\n".join(path.read_text() for path in paths if "migrations" not in path.parts)


def test_every_trouble_is_explained_and_can_occur() -> None:
    assert set(CLOUD_ERRORS) == set(TroubleCode)
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.CloudError)
    ]
    can_occur = {error_code(kind("x")) for kind in kinds}
    can_occur |= {error_code(errors.Busy("x", status=429))}
    numbers = error_mapping._BY_CODE.items()
    can_occur |= {error_code(kind("x", code=number)) for number, (kind, _) in numbers}
    can_occur |= {error_code(errors.TellPerson("x", code=number)) for number in CLOUD_CODES}
    can_occur |= {TroubleCode.LIST_CONTRADICTS, TroubleCode.LIST_TOO_LONG}  # fleet/sync.py
    can_occur.add(TroubleCode.LIST_UNREADABLE)  # likewise
    can_occur.add(TroubleCode.TOO_LATE)  # installs/restoring.py
    assert can_occur == set(TroubleCode)
