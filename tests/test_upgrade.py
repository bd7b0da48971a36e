"""A database of each released version, with installs under way, a queue and a planned night, goes
on with the newest; and an upgrade that fails leaves it as it was.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.product import ROOT
from tests.support.simcloud_process import SimCloud
from tests.support.terminal import CLOUD_EMAIL, CLOUD_PASSWORD, PACE, Terminal
from tests.test_released import RELEASED

STATES = ("requested", "pushing", "running", "retrying", "verifying")

# Everything here is written with the tables as they were: the product's own models know more.
LAY_OUT = f"""
import json, time
from datetime import timedelta
from django.conf import settings
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.utils import timezone
from devices.rainmaker.client import RainmakerClient
from devices.rainmaker.errors import NoOtaStatus
from devices.security.encryption import encrypt
apps = MigrationLoader(connection).project_state(("devices", RELEASE)).apps
def table(name):
    return apps.get_model("devices", name).objects
now = timezone.now()
client = RainmakerClient(settings.DEFAULT_CLOUD_URL)
tokens = client.sign_in("{CLOUD_EMAIL}", "{CLOUD_PASSWORD}")
user = table("User").create(email="owner@example.com", password="!")
home = table("Household").create(name="Garden", time_zone=f"Etc/GMT{{now.hour - 12:+d}}")  # noon
table("Membership").create(user=user, household=home, role="owner")
account = table("CloudAccount").create(
    household=home, base_url=settings.DEFAULT_CLOUD_URL, email="{CLOUD_EMAIL}",
    sealed_access_token=encrypt(tokens.access_token),
    sealed_refresh_token=encrypt(tokens.refresh_token),
)
host = settings.DEFAULT_CLOUD_URL.partition("//")[2]
nodes, bound = [], {{}}
for state, node_id in zip([*{STATES!r}, "", ""], json.loads(IDS)):
    config, given = client.get_node_config(node_id), client.check_firmware_update(node_id)
    node = table("Node").create(
        account=account, node_id=node_id, name=config.name, model=config.model,
        fw_version=config.fw_version, is_online=True, next_check_at=now + timedelta(days=1),
    )
    offer = table("Offer").create(
        node=node, ota_job_id=given.ota_job_id, fw_version=given.fw_version,
        description=given.description, size_bytes=given.size_bytes, md5=given.md5,
    )
    nodes.append(node)
    bound[node.pk] = dict(
        node_id=node.pk, offer_id=offer.pk, ota_job_id=offer.ota_job_id,
        from_version=node.fw_version, to_version=offer.fw_version, size_bytes=offer.size_bytes,
        md5=offer.md5,
    )
    if not state:
        continue
    fields = dict(
        household=home, node=node, offer=offer, cloud_host=host, cloud_node_id=node_id,
        hub_name=config.name, hub_model=config.model, ota_job_id=given.ota_job_id,
        from_version=config.fw_version, to_version=given.fw_version, size_bytes=given.size_bytes,
        md5=given.md5, description=given.description, requested_by=user,
        requested_by_name=user.email, expires_at=now + timedelta(minutes=10), state=state,
        is_online=True,
    )
    if state != "requested":
        try:
            before = client.get_ota_status(node_id=node_id, ota_job_id=given.ota_job_id)
        except NoOtaStatus:
            before = None
        fields |= dict(
            claimed_at=timezone.now(), pushes=1, version_seen=config.fw_version,
            baseline_word=before.word if before else "",
            baseline_timestamp=before.raw_timestamp if before else "",
            baseline_info=before.info if before else "",
        )
        client.push_firmware_update(node_id=node_id, ota_job_id=given.ota_job_id)
        if state != "pushing":
            fields |= dict(pushed_at=timezone.now(), last_news_at=timezone.now())
    if state == "retrying":
        fields |= dict(cloud_word="failed", cloud_meaning="failed", failed_attempts=1,
                     cloud_info="OTA Attempt 1/3 failed", first_failed_at=timezone.now())
    if state == "verifying":
        fields |= dict(cloud_word="success", cloud_meaning="success", success_at=timezone.now())
    job = table("OtaJob").create(**fields)
    if state == "running":
        table("Report").create(
            job=job, sequence=1, heard_at=now, last_heard_at=now, word="started",
            meaning="started",
        )
in_queue, at_night = nodes[len({STATES!r}):]
batch = table("Batch").create(
    household=home, requested_by=user, requested_by_name=user.email,
    expires_at=now + timedelta(hours=12), state="running",
)
table("BatchItem").create(
    batch=batch, node=in_queue, position=1, hub_name=in_queue.name, binding=bound[in_queue.pk],
)
table("Proposal").create(
    household=home, node=at_night, hub_name=at_night.name, binding=bound[at_night.pk],
    proposed_by_name="sam@support.example", token_digest="0" * 64, state="tonight",
    expires_at=now + timedelta(days=2), decided_at=now, decided_by=user,
    decided_by_name=user.email, next_try_at=now + timedelta(hours=20),
    try_until=now + timedelta(hours=30),
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
# Every table with its columns, every row of those that matter, and what was migrated.
TABLES = """
import json
from django.db import connection
found = {}
with connection.cursor() as cursor:
    for name in sorted(connection.introspection.table_names(cursor)):
        about = connection.introspection.get_table_description(cursor, name)
        cursor.execute(f'SELECT count(*) FROM "{name}"')
        found[name] = [[str(column[:2]) for column in about], cursor.fetchone()]
    for name in ("devices_otajob", "devices_batchitem", "devices_household", "django_migrations"):
        cursor.execute(f'SELECT * FROM "{name}" ORDER BY id')
        found[name].append([list(map(str, row)) for row in cursor.fetchall()])
print(json.dumps(found))
"""
GO_ON = """
from tests.support.engine import run_until
from devices.models import OtaJob, Plan
queued = Plan.objects.waiting().exclude(batch=None)
run_until(lambda: not queued.exists() and not OtaJob.objects.live().exists(), limit_s=200)
print(list(Plan.objects.order_by("node_id").values_list("state", "when")))
"""
UPGRADE = f"""
from django.db import connection
from devices.management.commands.migrate import Command
from devices.server.bootstrap import prepare_database
go_on, steps = Command.migration_progress_callback, []
def look(self, action, migration=None, fake=False):
    go_on(self, action, migration, fake)
    if action == "apply_success" and migration.name != "9998_works":
        with connection.cursor() as cursor:
            cursor.execute("SELECT state FROM devices_otajob ORDER BY id")
            assert [row[0] for row in cursor.fetchall()] == {list(STATES)!r}, migration
        steps.append(migration.name)
Command.migration_progress_callback = look
backup = prepare_database()
print(len(steps), backup)
"""
# Each step, in the transaction of `migrate`, fails at its end, is looked at, and is then taken.
STEPS = """
import json
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from devices.management.commands.migrate import whole
SCHEMA = {
    "sqlite": ["SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY 1, 2"],
    "postgresql": [
        "SELECT table_name, column_name, data_type, character_maximum_length, is_nullable,"
        " column_default, is_identity FROM information_schema.columns"
        " WHERE table_schema = 'public' ORDER BY 1, 2",
        "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2",
        "SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1",
        "SELECT proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
        " ORDER BY 1",
    ],
}
class Fault(Exception):
    pass
def everything():
    found = {}
    with connection.cursor() as cursor:
        for sql in SCHEMA[connection.vendor]:
            cursor.execute(sql)
            found[sql] = cursor.fetchall()
        for table in sorted(connection.introspection.table_names(cursor)):
            cursor.execute(f'SELECT * FROM "{table}"')
            found[table] = sorted(map(repr, cursor.fetchall()))
    return found
executor = MigrationExecutor(connection)
state, names = executor.loader.project_state([*executor.loader.applied_migrations]), []
for migration, _ in executor.migration_plan(executor.loader.graph.leaf_nodes()):
    before = everything()
    try:
        with whole("default"):
            executor.apply_migration(state.clone(), migration)
            with connection.cursor() as cursor:
                sql = "SELECT 1 FROM django_migrations WHERE app = %s AND name = %s"
                cursor.execute(sql, [migration.app_label, migration.name])
                assert cursor.fetchone(), "it was done, and recorded"
            raise Fault(migration)
    except Fault:
        names += [migration.name] * (migration.app_label == "devices")
    after = everything()
    assert list(after) == list(before), migration
    for part in before:
        assert after[part] == before[part], (migration, part)
    with whole("default"):
        state = executor.apply_migration(state, migration)
        connection.check_constraints()
print(json.dumps(names))
"""
UPGRADE_LEFT = """
import json
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
executor = MigrationExecutor(connection)
plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
print(json.dumps([migration.name for migration, _ in plan]))
"""
# What the next version may bring: one migration that works and one that breaks off in the middle.
WORKS = """
from django.db import migrations, models
class Migration(migrations.Migration):
    dependencies = [("devices", "BEFORE")]
    operations = [
        migrations.AddField("household", "motto", models.CharField(max_length=20, default="dusk")),
        migrations.RunSQL("UPDATE devices_otajob SET state = 'cancelled'"),
    ]
"""
BREAKS = """
from django.db import migrations, models
def stop(apps, schema_editor):
    apps.get_model("devices", "Household").objects.update(name="half way")
    raise RuntimeError("this household has no motto")
class Migration(migrations.Migration):
    dependencies = [("devices", "9998_works")]
    operations = [
        migrations.RemoveField("otajob", "description"),
        migrations.RunPython(stop),
    ]
"""


def broken_version(folder: Path) -> Path:
    """Return a copy of the program that has two more migrations, of which the second fails."""
    for name in ("devices", "thermacell_web"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "manage.py", folder)
    (folder / "static").mkdir()
    (folder / "templates").mkdir()
    migrations = folder / "devices" / "migrations"
    newest = max(migrations.glob("0*.py")).stem
    (migrations / "9998_works.py").write_text(WORKS.replace("BEFORE", newest))
    (migrations / "9999_breaks.py").write_text(BREAKS)
    return folder


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest) -> str:
    is_file = request.param == "sqlite"
    return "" if is_file else str(request.getfixturevalue("postgres_url"))


@pytest.fixture(params=RELEASED)
def released(request: pytest.FixtureRequest, url: str, tmp_path: Path) -> Iterator[Terminal]:
    """Yield an installation of that version with an install in every live state."""
    users = [f"{CLOUD_EMAIL}:{CLOUD_PASSWORD}"]
    hubs = len(STATES) + 2
    with SimCloud(hubs=hubs, speed=PACE, offers=1, users=users) as cloud:
        for hub in range(hubs):
            cloud.set_online(hub, True)
        cloud.set_scenario(STATES.index("retrying"), "first_attempt_fails")
        server = Terminal(cloud, tmp_path / "data")
        server.environment["DATABASE_URL"] = url
        release = RELEASED[request.param]
        server.ok("migrate", "django_q", "--verbosity", "0")
        server.ok("migrate", "devices", release, "--verbosity", "0")
        code = f"RELEASE, IDS = {release!r}, {json.dumps(cloud.node_ids())!r}\n{LAY_OUT}"
        server.ok("shell", "-c", code)
        yield server


def shell(server: Terminal, code: str) -> Any:
    return json.loads(server.ok("shell", "-c", code).splitlines()[-1])


@pytest.mark.processes
def test_what_was_under_way_is_kept_and_ends_as_it_was_agreed(
    released: Terminal, tmp_path: Path
) -> None:
    server, cloud = released, released.cloud
    before, tables = shell(server, ROWS), shell(server, TABLES)
    assert [job["state"] for job in before] == list(STATES)

    # first a version that cannot be installed: nothing of it stays, and so the old one can run on
    server.root = broken_version(tmp_path / "broken")
    failed = server.run("shell", "-c", UPGRADE)
    server.root = ROOT
    assert failed.returncode != 0
    assert "this household has no motto), and nothing in it was changed" in failed.stderr
    assert shell(server, TABLES) == tables

    # after each step what is under way stands as it did
    steps, backup = server.ok("shell", "-c", UPGRADE).splitlines()[-1].split(" ", 1)
    assert int(steps) >= 29
    if server.environment["DATABASE_URL"]:
        assert backup == "None", "on a server its keeper makes the backups"
    else:
        assert Path(backup).parent == server.data_dir / "backups"
        assert Path(backup).stat().st_mode & 0o777 == 0o600
    assert server.ok("shell", "-c", UPGRADE).splitlines()[-1] == "0 None", "nothing left to upgrade"

    after = shell(server, ROWS)
    assert [{name: job[name] for name in old} for old, job in zip(before, after, strict=True)] == (
        before
    )
    plans = server.ok("shell", "-c", GO_ON).splitlines()[-1]
    assert plans == "[('started', 'now'), ('waiting', 'tonight')]"
    ended = shell(server, ROWS)
    assert {job["state"] for job in ended} == {"verified"}
    *ids, night = cloud.node_ids()
    assert [cloud.pushes(node).get("accepted", 0) for node in ids] == [1] * (len(STATES) + 1)
    assert cloud.pushes(night).get("accepted", 0) == 0


@pytest.mark.processes
def test_a_step_that_fails_leaves_nothing_behind_and_can_be_taken_again(released: Terminal) -> None:
    steps = shell(released, STEPS)
    since = sorted(path.stem for path in (ROOT / "devices" / "migrations").glob("0*.py"))
    assert steps == since[since.index(RELEASED["0.1.0"]) + 1 :]
    assert shell(released, UPGRADE_LEFT) == []
    states = {job["state"] for job in shell(released, ROWS)}
    assert states == set(STATES)
