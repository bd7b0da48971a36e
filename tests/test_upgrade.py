"""A database of the first version, with installs under way, goes on with the newest."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simcloud_process import SimCloud
from tests.terminal import CLOUD_EMAIL, CLOUD_PASSWORD, PACE, Terminal

pytestmark = pytest.mark.processes
STATES = ("requested", "pushing", "running", "retrying", "verifying")

# Everything here is written with the tables as they were: the product's own models know more.
LAY_OUT = f"""
import json, time
from datetime import timedelta
from django.conf import settings
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.utils import timezone
from devices.cloud.client import RainmakerClient
from devices.cloud.errors import NoOtaStatus
from devices.models.account import seal
apps = MigrationLoader(connection).project_state(("devices", "0001_initial")).apps
def table(name):
    return apps.get_model("devices", name).objects
now = timezone.now()
client = RainmakerClient(settings.DEFAULT_CLOUD_URL)
tokens = client.sign_in("{CLOUD_EMAIL}", "{CLOUD_PASSWORD}")
user = table("User").create(email="owner@example.com", password="!")
home = table("Household").create(name="Garden")
table("Membership").create(user=user, household=home, role="owner")
account = table("CloudAccount").create(
    household=home, base_url=settings.DEFAULT_CLOUD_URL, email="{CLOUD_EMAIL}",
    sealed_access_token=seal(tokens.access_token), sealed_refresh_token=seal(tokens.refresh_token),
)
host = settings.DEFAULT_CLOUD_URL.partition("//")[2]
for state, node_id in zip({STATES!r}, json.loads(IDS)):
    config, heard = client.get_node_config(node_id), client.check_firmware_update(node_id)
    node = table("Node").create(
        account=account, node_id=node_id, name=config.name, model=config.model,
        fw_version=config.fw_version, is_online=True, next_check_at=now + timedelta(days=1),
    )
    offer = table("Offer").create(
        node=node, ota_job_id=heard.ota_job_id, fw_version=heard.fw_version,
        description=heard.description, size_bytes=heard.size_bytes, md5=heard.md5,
    )
    told = dict(
        household=home, node=node, offer=offer, cloud_host=host, cloud_node_id=node_id,
        hub_name=config.name, hub_model=config.model, ota_job_id=heard.ota_job_id,
        from_version=config.fw_version, to_version=heard.fw_version, size_bytes=heard.size_bytes,
        md5=heard.md5, description=heard.description, requested_by=user,
        requested_by_name=user.email, expires_at=now + timedelta(minutes=10), state=state,
        is_online=True,
    )
    if state != "requested":
        try:
            before = client.get_ota_status(node_id=node_id, ota_job_id=heard.ota_job_id)
        except NoOtaStatus:
            before = None
        told |= dict(
            claimed_at=timezone.now(), pushes=1, version_seen=config.fw_version,
            baseline_word=before.word if before else "",
            baseline_timestamp=before.raw_timestamp if before else "",
            baseline_info=before.info if before else "",
        )
        client.push_firmware_update(node_id=node_id, ota_job_id=heard.ota_job_id)
        if state != "pushing":
            told |= dict(pushed_at=timezone.now(), last_news_at=timezone.now())
    if state == "retrying":
        told |= dict(cloud_word="failed", cloud_meaning="failed", failed_attempts=1,
                     cloud_info="OTA Attempt 1/3 failed", first_failed_at=timezone.now())
    if state == "verifying":
        told |= dict(cloud_word="success", cloud_meaning="success", success_at=timezone.now())
    job = table("OtaJob").create(**told)
    if state == "running":
        table("Report").create(
            job=job, sequence=1, heard_at=now, last_heard_at=now, word="started",
            meaning="started",
        )
"""
ROWS = """
import json
from django.db import connection
with connection.cursor() as cursor:
    cursor.execute("SELECT * FROM devices_otajob ORDER BY id")
    names = [column[0] for column in cursor.description]
    print(json.dumps([dict(zip(names, row)) for row in cursor.fetchall()], default=str))
"""
GO_ON = """
from tests.engine import run_until
from devices.models import OtaJob
run_until(lambda: not OtaJob.objects.live().exists(), limit_s=200)
"""


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def first_version(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Terminal]:
    """Yield an installation with the tables of 0001 and an install in every live state."""
    url = "" if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))
    users = [f"{CLOUD_EMAIL}:{CLOUD_PASSWORD}"]
    with SimCloud(hubs=len(STATES), speed=PACE, offers=1, users=users) as cloud:
        for hub in range(len(STATES)):
            cloud.set_online(hub, True)
        cloud.set_scenario(STATES.index("retrying"), "first_attempt_fails")
        terminal = Terminal(cloud, tmp_path / "data")
        terminal.environment["DATABASE_URL"] = url
        terminal.ok("migrate", "django_q", "--verbosity", "0")
        terminal.ok("migrate", "devices", "0001_initial", "--verbosity", "0")
        yield terminal


def test_every_install_under_way_is_kept_and_ends_verified(first_version: Terminal) -> None:
    server, cloud = first_version, first_version.cloud
    ids = cloud.node_ids()
    server.ok("shell", "-c", LAY_OUT.replace("IDS", repr(json.dumps(ids))))
    before = json.loads(server.ok("shell", "-c", ROWS).splitlines()[-1])
    assert [job["state"] for job in before] == list(STATES)

    upgrade = "from devices.launch.prepare import prepare_database\nprint(prepare_database())"
    backup = server.ok("shell", "-c", upgrade).splitlines()[-1]
    if server.environment["DATABASE_URL"]:
        assert backup == "None", "on a server its keeper makes the backups"
    else:
        assert Path(backup).parent == server.data_dir / "backups"
        assert Path(backup).stat().st_mode & 0o777 == 0o600
    assert server.ok("shell", "-c", upgrade).splitlines()[-1] == "None", "nothing left to upgrade"

    after = json.loads(server.ok("shell", "-c", ROWS).splitlines()[-1])
    assert [{name: job[name] for name in old} for old, job in zip(before, after, strict=True)] == (
        before
    )
    server.ok("shell", "-c", GO_ON)
    ended = json.loads(server.ok("shell", "-c", ROWS).splitlines()[-1])
    assert {job["state"] for job in ended} == {"verified"}
    assert [cloud.pushes(node).get("accepted", 0) for node in ids] == [1] * len(STATES)
