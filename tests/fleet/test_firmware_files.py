"""Firmware files over real HTTP: fetched by the worker, checked, kept, taken by who may."""

import hashlib
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from devices.fleet import firmware_files
from devices.models import (
    Actor,
    AuditEvent,
    CloudAccount,
    FetchState,
    Image,
    ImageFetch,
    Node,
    Role,
)
from tests.support.client import Client
from tests.support.engine import link, run_until
from tests.support.factories import (
    make_account,
    make_household,
    make_node,
    make_offer,
    make_owner,
    make_user,
    person,
)
from tests.support.people import browser
from tests.support.simcloud_process import SimCloud

pytestmark = pytest.mark.django_db
EMAIL = "garden@example.com"
SIZE = 300_000


@pytest.fixture(autouse=True)
def folder(settings: Any, tmp_path: Path) -> Path:
    settings.DATA_DIR = tmp_path
    return tmp_path


class Garden:
    """A household with one hub whose offer has a link, at a real simulated cloud."""

    def __init__(self, cloud: SimCloud) -> None:
        self.cloud = cloud
        self.household = make_household("Garden house")
        self.owner = make_owner(self.household)
        self.hub = cloud.node_ids()[0]
        self.offer()
        self.account = link(cloud, self.household, self.owner, EMAIL)
        self.node = self.account.nodes.get()
        self.client = browser(self.owner)

    def offer(self, **more: Any) -> None:
        found = {"fw_version": "5.4.7", "file_size": SIZE, "image_access": True} | more
        self.cloud.swap_offer(self.hub, **found)

    def check_again(self) -> None:
        Node.objects.update(checked_at=None, next_check_at=timezone.now())
        run_until(lambda: not Node.objects.filter(checked_at=None).exists())

    def fetch(self) -> ImageFetch:
        """Press the button, and let the worker work until it is over."""
        pressed = self.client.post(f"/hubs/{self.node.pk}/file/")
        assert pressed.status_code == 302
        wish = ImageFetch.objects.latest("pk")
        run_until(lambda: self.is_over(wish))
        return wish

    def is_over(self, wish: ImageFetch) -> bool:
        """Is it? What waits for its next try is let try at once."""
        ImageFetch.objects.filter(pk=wish.pk, tries__gt=0).update(next_try_at=timezone.now())
        wish.refresh_from_db()
        return not wish.is_waiting

    def take(self, wish: ImageFetch) -> Any:
        return self.client.get(f"/hubs/{self.node.pk}/files/{wish.pk}/")

    def page(self) -> str:
        return self.client.get(f"/hubs/{self.node.pk}/").content.decode()


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "firmware").iterdir())


@pytest.fixture
def garden() -> Iterator[Garden]:
    with SimCloud(hubs=1, users=[f"{EMAIL}:quiet-evening"]) as cloud:
        yield Garden(cloud)


@pytest.mark.processes
def test_a_file_is_fetched_verified_kept_and_taken(garden: Garden, folder: Path) -> None:
    assert "Download the file" in garden.page()
    wish = garden.fetch()
    assert wish.state == FetchState.VERIFIED
    assert wish.image is not None
    assert (wish.hub_model, wish.cloud_host) == (garden.node.model, garden.account.cloud_host)
    assert wish.asked_by_name == garden.owner.email

    answer = garden.take(wish)
    body = b"".join(answer.streaming_content)
    assert len(body) == SIZE
    assert hashlib.sha256(body).hexdigest() == wish.image.sha256
    assert hashlib.md5(body, usedforsecurity=False).hexdigest() == wish.md5
    assert answer["Content-Disposition"] == 'attachment; filename="hub-firmware-5.4.7.bin"'
    assert answer["Content-Type"] == "application/octet-stream"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert files_in(folder) == [f"{wish.image.sha256}.bin"]
    assert (folder / "firmware").stat().st_mode & 0o777 == 0o700
    assert (folder / "firmware" / files_in(folder)[0]).stat().st_mode & 0o777 == 0o600
    trail = AuditEvent.objects.filter(action__startswith="image.").order_by("sequence")
    assert [event.action for event in trail] == ["image.asked", "image.verified", "image.taken"]
    assert trail[1].detail["found"]["sha256"] == wish.image.sha256
    assert "signature" not in str(list(trail.values()))
    page = garden.page()
    assert wish.image.sha256 in page
    assert "size and MD5 match the cloud&#x27;s values" in page

    again = garden.fetch()
    assert again.pk != wish.pk
    assert again.image == wish.image, "one file, told of twice"


@pytest.mark.processes
@pytest.mark.parametrize(
    ("offer", "note"),
    [
        ({"file_md5": "0" * 32}, "The file's MD5 is"),
        ({"file_md5": "F" * 32}, "the cloud gives " + "f" * 32),
    ],
)
def test_a_file_that_is_not_the_one_is_refused_and_deleted(
    garden: Garden, folder: Path, offer: dict[str, Any], note: str
) -> None:
    garden.offer(**offer)
    garden.check_again()
    wish = garden.fetch()
    assert wish.state == FetchState.REFUSED
    assert note in wish.note.english
    assert wish.image is None
    assert files_in(folder) == []
    assert garden.take(wish).status_code == 404
    event = AuditEvent.objects.get(action="image.refused")
    assert (event.outcome, event.household_id) == ("refused", garden.household.pk)
    assert event.detail["said"]["md5"] != event.detail["found"]["md5"]
    page = garden.page()
    assert "Refused: not the file the cloud describes" in page
    assert "Save the file" not in page


@pytest.mark.processes
@pytest.mark.parametrize(
    ("fault", "note"),
    [
        ({"kind": "garbage", "body": "truncated_json"}, f"200000 bytes; the cloud gives {SIZE}"),
        ({"kind": "garbage", "body": "huge"}, f"larger than {SIZE} bytes"),
    ],
)
def test_a_body_that_is_too_short_or_too_long_is_refused(
    garden: Garden, folder: Path, fault: dict[str, Any], note: str
) -> None:
    garden.cloud.fault(path="/firmware/image", **fault)
    wish = garden.fetch()
    assert wish.state == FetchState.REFUSED
    assert note in wish.note.english
    assert files_in(folder) == []


@pytest.mark.processes
def test_an_md5_that_is_none_verifies_nothing_and_breaks_nothing(
    garden: Garden, folder: Path
) -> None:
    garden.offer(file_md5="a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5p6")
    garden.check_again()
    wish = garden.fetch()
    assert wish.state == FetchState.UNVERIFIED
    assert "not hexadecimal" in wish.note.english
    assert len(files_in(folder)) == 1
    answer = garden.take(wish)
    assert "not-verified" in answer["Content-Disposition"]
    assert len(b"".join(answer.streaming_content)) == SIZE
    page = garden.page()
    assert "the MD5 cannot be verified" in page
    assert "size and MD5 match the cloud&#x27;s values" not in page


@pytest.mark.processes
def test_an_expired_link_is_asked_for_again_once(garden: Garden) -> None:
    garden.cloud.fault("http", path="/firmware/image", status=403, count=1)
    before = garden.cloud.counters()["requests"]["GET /v1/user/nodes/ota_update"]
    wish = garden.fetch()
    assert wish.state == FetchState.VERIFIED
    assert wish.tries == 0, "within the same try"
    after = garden.cloud.counters()["requests"]
    assert after["GET /v1/user/nodes/ota_update"] == before + 2
    assert after["GET /firmware/image"] == 2


@pytest.mark.processes
def test_a_server_that_always_refuses_is_given_up_and_the_account_goes_on(garden: Garden) -> None:
    garden.cloud.fault("http", path="/firmware/image", status=403)
    wish = garden.fetch()
    assert wish.state == FetchState.FAILED
    assert wish.tries == firmware_files.MOST_TRIES
    assert "no longer valid" in wish.note.english
    account = CloudAccount.objects.get()
    assert (account.failures, account.trouble, account.state) == (0, "", "linked")
    assert "Could not be downloaded" in garden.page()


@pytest.mark.processes
def test_trouble_that_passes_is_tried_again(garden: Garden) -> None:
    garden.cloud.fault("500", path="/firmware/image", count=1)
    garden.cloud.fault("cut_after", path="/firmware/image", count=1)
    wish = garden.fetch()
    assert wish.state == FetchState.VERIFIED
    assert wish.tries == 2


@pytest.mark.processes
def test_a_server_that_drips_is_left_in_time(
    garden: Garden, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(firmware_files, "TOTAL_S", 1.0)
    garden.cloud.fault("slow_body", path="/firmware/image", drip_s=60)
    wish = garden.fetch()
    assert wish.state == FetchState.FAILED
    assert "download was incomplete" in wish.note.english
    assert files_in(folder) == []


@pytest.mark.processes
def test_an_offer_that_changed_meanwhile_is_not_mixed_up(garden: Garden) -> None:
    pressed = garden.client.post(f"/hubs/{garden.node.pk}/file/")
    assert pressed.status_code == 302
    garden.offer(fw_version="5.5.0")
    wish = ImageFetch.objects.get()
    run_until(lambda: garden.is_over(wish))
    assert wish.state == FetchState.FAILED
    assert "no longer offers" in wish.note.english


@pytest.mark.processes
def test_a_link_into_this_network_is_never_followed(garden: Garden, folder: Path) -> None:
    garden.offer(image_access=False, url="https://169.254.169.254/latest/meta-data/?X=1")
    garden.check_again()
    wish = garden.fetch()
    assert wish.state == FetchState.FAILED
    assert "into a private network" in wish.note.english
    assert files_in(folder) == []


@pytest.mark.processes
def test_the_archive_lets_the_oldest_go_and_says_so(
    garden: Garden, folder: Path, settings: Any
) -> None:
    settings.FIRMWARE_ARCHIVE_BYTES = SIZE + 1
    first = garden.fetch()
    part = folder / "firmware" / "incoming-dead.part"
    part.write_bytes(b"x")
    old = (timezone.now() - timedelta(hours=2)).timestamp()
    os.utime(part, (old, old))
    garden.offer(fw_version="5.5.0")
    garden.check_again()
    second = garden.fetch()
    assert second.image is not None
    assert files_in(folder) == [f"{second.image.sha256}.bin"]
    assert AuditEvent.objects.filter(action="image.dropped").count() == 1
    gone = garden.take(first)
    assert gone.status_code == 410
    assert "no longer in the archive" in gone.content.decode()
    assert Image.objects.count() == 2, "where it came from stays on record"


@pytest.mark.processes
def test_a_file_that_rotted_on_the_disk_is_not_given_out(garden: Garden, folder: Path) -> None:
    wish = garden.fetch()
    path = folder / "firmware" / files_in(folder)[0]
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert garden.take(wish).status_code == 410


@pytest.fixture
def wish(folder: Path) -> ImageFetch:
    """A file that was fetched, without a cloud."""
    household = make_household("Garden house")
    node = make_node(make_account(household))
    offer = make_offer(node, has_link=True, fw_version='5.4.7"; x=\r\n../../etc')
    body = b"firmware"
    sha256 = hashlib.sha256(body).hexdigest()
    (firmware_files.archive() / f"{sha256}.bin").write_bytes(body)
    image = Image.objects.create(sha256=sha256, md5="0" * 32, size_bytes=len(body))
    wish = firmware_files.ask(node, offer, actor=person(make_owner(household)), now=timezone.now())
    wish.state, wish.image = FetchState.VERIFIED, image
    wish.save()
    return wish


def test_only_a_household_that_was_offered_the_file_takes_it(wish: ImageFetch) -> None:
    home = wish.node.account.household
    elsewhere = make_node(make_account(make_household()))
    stranger = make_owner(elsewhere.account.household)
    address = f"/hubs/{wish.node_id}/files/{wish.pk}/"
    asking = f"/hubs/{wish.node_id}/file/"
    answers = {
        role: browser(make_user(role=role, household=home)) for role in (Role.MEMBER, Role.VIEWER)
    }
    assert browser(stranger).get(address).status_code == 404
    # a hub of one's own and somebody else's file
    assert browser(stranger).get(f"/hubs/{elsewhere.pk}/files/{wish.pk}/").status_code == 404
    assert browser(stranger).post(asking).status_code == 404
    assert Client().get(address).status_code == 302
    for client in answers.values():
        answer: Any = client.get(address)
        assert b"".join(answer.streaming_content) == b"firmware"
        assert client.post(address).status_code == 405
    assert answers[Role.VIEWER].post(asking).status_code == 403
    assert answers[Role.MEMBER].post(asking).status_code == 302


def test_a_version_cannot_break_out_of_the_files_name(wish: ImageFetch) -> None:
    client = browser(make_owner(wish.node.account.household))
    answer: Any = client.get(f"/hubs/{wish.node_id}/files/{wish.pk}/")
    assert b"".join(answer.streaming_content) == b"firmware"
    assert answer["Content-Disposition"] == (
        'attachment; filename="hub-firmware-5.4.7-x-..-..-etc.bin"'
    )


def test_asking_twice_is_asking_once(wish: ImageFetch) -> None:
    offer = wish.node.offer
    assert offer is not None
    who = Actor(name="owner@example.com")
    first = firmware_files.ask(wish.node, offer, actor=who, now=timezone.now())
    assert firmware_files.ask(wish.node, offer, actor=who, now=timezone.now()) == first
    assert first != wish
    assert AuditEvent.objects.filter(action="image.asked").count() == 2


def test_an_offer_without_a_link_has_no_button() -> None:
    household = make_household()
    node = make_node(make_account(household))
    make_offer(node, has_link=False)
    client = browser(make_owner(household))
    assert "Download the file" not in client.get(f"/hubs/{node.pk}/").content.decode()
    client.post(f"/hubs/{node.pk}/file/")
    assert ImageFetch.objects.count() == 0


@pytest.mark.parametrize("name", ["/etc/precious", "../../precious", "a/b", ".."])
def test_a_row_of_the_database_leads_to_no_file_outside_the_archive(name: str) -> None:
    path = firmware_files.path_of(Image(sha256=name))
    assert path.parent == firmware_files.archive()
