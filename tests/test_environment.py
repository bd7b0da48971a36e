"""Settings from the environment: what is taken, what is refused, and that both are written down."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import forked
from tests.support.services import ROOT
from thermacell_web.environment import IN_FILES

KEY = "dGVzdHMtb25seS1ub3QtYS1yZWFsLWtleS0wMTIzNDU="
LONG = "a-long-and-random-enough-value-0123456789-abcdefghijklmnop"
SECRET = "hunter2"
EXAMPLE = (ROOT / ".env.example").read_text()
# Read by the start, not by the settings.
START_ONLY = {"PORT", "BIND", "CLOUD_PORT"}


def settings(data_dir: Path, code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run code with the product's settings as S, in an environment of just these variables."""
    imports = "import json; import thermacell_web.settings as S"
    return forked.run(f"{imports}; {code}", environment(data_dir, variables))


def check(data_dir: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `manage.py check` in an environment of just these variables."""
    code = "import sys; sys.argv = ['manage.py', 'check']; import manage; manage.main()"
    return forked.run(code, environment(data_dir, variables))


def environment(data_dir: Path, variables: dict[str, str]) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return kept | {"ENV_FILE": "", "DATA_DIR": str(data_dir)} | variables


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DEBUG", "banana"),
        ("MQTT_URL", "banana"),
        ("MQTT_URL", f"https://me:{SECRET}@broker"),
        ("MQTT_URL", f"mqtt://me:{SECRET}@broker:port"),
        ("MQTT_CA_FILE", "nowhere.pem"),
        ("MQTT_CLIENT_FILE", "README.md"),
        ("PUBLIC_URL", "banana"),
        ("PUBLIC_URL", "https://hubs.example.org/path"),
        ("PUBLIC_URL", "https://hubs.example.org:port"),
        ("PUBLIC_URL", f"https://me:{SECRET}@"),
        ("SECRET_KEY", "short"),
        ("SECRET_KEY", "a" * 60),
        ("SECRET_KEY_FALLBACKS", f"{LONG},short"),
        ("ENCRYPTION_KEYS", "banana"),
        ("ENCRYPTION_KEYS", f"{KEY},{SECRET}"),
        ("AUDIT_KEY", "short"),
        ("ALLOWED_HOSTS", "https://hubs.example.org"),
        ("ALLOWED_HOSTS", "*"),
        ("BACKUP_DIR", "/nowhere/at/all"),
        ("BACKUP_HOOK", "/nowhere/at/all"),
        ("BACKUP_KEEP", "0"),
        ("ALLOWED_HOSTS", "hubs.example.org:8000"),
        ("NOTIFY_HOSTS", "https://ntfy.sh"),
        ("NOTIFY_HOSTS", "*"),
        ("PUSH_HOSTS", "https://push.home.example"),
        ("PUSH_CONTACT", "somebody"),
        ("PUSH_CONTACT", "http://hubs.example.org"),
        ("PUSH_CONTACT", "mailto:Hubs <a@example.org>"),
        ("DATABASE_URL", "banana"),
        ("DATABASE_URL", f"mysql://me:{SECRET}@db/hubs"),
        ("DATABASE_URL", f"postgres://me:{SECRET}@db:port/hubs"),
        ("DATABASE_URL", f"postgres://me:{SECRET}@db"),
        ("REDIS_URL", "banana"),
        ("REDIS_URL", f"redis://:{SECRET}@cache:port/0"),
        ("CLUSTER_NAME", "two words"),
        ("CLUSTER_NAME", "x" * 51),
        ("BEHIND_PROXY", "sometimes"),
        ("EMAIL_URL", "banana"),
        ("EMAIL_URL", f"smtp://me:{SECRET}@mail:port"),
        ("EMAIL_URL", f"smtps://me:{SECRET}@mail"),
        ("EMAIL_FROM", "unknown"),
        ("TIME_ZONE", "Mars/Base"),
        ("TIME_ZONE", "../../etc/passwd"),
        ("LOG_LEVEL", "LOUD"),
        ("LOG_LEVELS", "access=LOUD"),
        ("LOG_LEVELS", "WARNING"),
        ("LOG_FORMAT", "xml"),
        ("LOG_TO", "syslog"),
        ("HSTS", "everywhere"),
        ("DEFAULT_CLOUD_URL", "ftp://cloud.example.org"),
        ("ALLOWED_CLOUDS", "http://cloud.example.org"),
        ("ALLOWED_CLOUDS", "https://cloud.example.org/path"),
        ("FIRMWARE_FILE_MB", "0"),
        ("FIRMWARE_ARCHIVE_MB", "lots"),
        ("SUPPORT_SEES_ALL_HOUSEHOLDS", "maybe"),
        ("ENGINE_PACE", "0"),
        ("ENGINE_PACE", "1.5"),
        ("ENGINE_PACE", "fast"),
        ("DATA_DIR", "/proc/nowhere"),
        ("DATA_DIR", str(ROOT / "manage.py")),
        ("ENV_FILE", "/nowhere/.env"),
    ],
)
def test_a_bad_value_stops_with_one_sentence(tmp_path: Path, name: str, value: str) -> None:
    ended = check(tmp_path, **{name: value})
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1
    assert ended.stderr.startswith(f"The settings cannot be used: {name} must ")
    assert ended.stderr.endswith(".\n")
    assert SECRET not in ended.stderr


@pytest.mark.parametrize(
    ("name", "value", "code", "result"),
    [
        ("DEBUG", "true", "S.DEBUG", True),
        ("DEBUG", "", "S.DEBUG", False),
        ("PUBLIC_URL", "https://hubs.example.org/", "S.PUBLIC_URL", "https://hubs.example.org"),
        ("PUBLIC_URL", "https://hubs.example.org", "S.SESSION_COOKIE_SECURE", True),
        ("PUBLIC_URL", "http://192.0.2.7:8000", "'192.0.2.7' in S.ALLOWED_HOSTS", True),
        ("SECRET_KEY", LONG, "S.SECRET_KEY", LONG),
        ("SECRET_KEY_FALLBACKS", f"{LONG}, {LONG}2", "S.SECRET_KEY_FALLBACKS", [LONG, f"{LONG}2"]),
        ("ENCRYPTION_KEYS", f"{KEY}, {KEY}", "S.KEY_RING.newest_first()", [KEY, KEY]),
        ("AUDIT_KEY", LONG, "S.AUDIT_KEY", LONG),
        ("NOTIFY_HOSTS", "Ntfy.sh, a.example:80", "S.NOTIFY_HOSTS[1]", "a.example:80"),
        ("PUSH_HOSTS", "push.home.example:8443", "S.PUSH_HOSTS[0]", "push.home.example:8443"),
        ("PUSH_CONTACT", "mailto:a@example.org", "S.PUSH_CONTACT", "mailto:a@example.org"),
        ("PUBLIC_URL", "https://hubs.example.org", "S.PUSH_CONTACT", "https://hubs.example.org"),
        ("EMAIL_FROM", "Hubs <a@example.org>", "S.PUSH_CONTACT", "mailto:a@example.org"),
        ("ALLOWED_HOSTS", "[::2], .b.example", "S.ALLOWED_HOSTS[-2:]", ["[::2]", ".b.example"]),
        ("DATABASE_URL", "postgres:///hubs", "S.DATABASES['default']['NAME']", "hubs"),
        (
            "DATABASE_URL",
            "postgres://me:a%40b@db/hubs",
            "S.DATABASES['default']['PASSWORD']",
            "a@b",
        ),
        ("DATABASE_URL", "sqlite:////srv/h.db", "S.DATABASES['default']['NAME']", "/srv/h.db"),
        ("REDIS_URL", "redis://cache:6379/1", "S.REDIS_URL", "redis://cache:6379/1"),
        ("REDIS_URL", "", "S.CACHES['default']['BACKEND'].rpartition('.')[2]", "DatabaseCache"),
        ("CLUSTER_NAME", "house-2", "S.Q_CLUSTER['name']", "house-2"),
        ("BEHIND_PROXY", "yes", "S.BEHIND_PROXY", True),
        (
            "EMAIL_URL",
            "submission://me:pw@mail:587",
            "[S.EMAIL_PORT, S.EMAIL_USE_TLS]",
            [587, True],
        ),
        ("EMAIL_URL", "smtp://me:pw@mail:465?ssl=true", "S.EMAIL_USE_SSL", True),
        ("EMAIL_URL", "", "S.EMAIL_BACKEND.split('.')[-2]", "console"),
        ("EMAIL_FROM", "Hubs <a@example.org>", "S.DEFAULT_FROM_EMAIL", "Hubs <a@example.org>"),
        ("TIME_ZONE", "Europe/Berlin", "S.TIME_ZONE", "Europe/Berlin"),
        ("LOG_LEVEL", "debug", "S.LOGGING['root']['level']", "DEBUG"),
        ("LOG_LEVELS", "access=error", "S.LOGGING['loggers']['access']['level']", "ERROR"),
        ("LOG_LEVELS", "urllib3=DEBUG", "S.LOGGING['loggers']['urllib3']['level']", "INFO"),
        ("LOG_FORMAT", "JSON", "S.LOGGING['handlers']['stderr']['formatter']", "json"),
        ("LOG_TO", "stdout", "S.LOG_TO", "stdout"),
        (
            "DEFAULT_CLOUD_URL",
            "http://127.0.0.1:8001",
            "S.DEFAULT_CLOUD_URL",
            "http://127.0.0.1:8001",
        ),
        (
            "ALLOWED_CLOUDS",
            "https://a.example, loopback",
            "[S.ALLOWED_CLOUDS, S.LOOPBACK_CLOUDS]",
            [["https://api.iot.thermacell.com", "https://a.example"], True],
        ),
        ("ALLOWED_CLOUDS", "", "[len(S.ALLOWED_CLOUDS), S.LOOPBACK_CLOUDS]", [2, False]),
        ("FIRMWARE_FILE_MB", "2", "S.FIRMWARE_FILE_BYTES", 2_000_000),
        ("FIRMWARE_ARCHIVE_MB", "", "S.FIRMWARE_ARCHIVE_BYTES", 500_000_000),
        ("SUPPORT_SEES_ALL_HOUSEHOLDS", "1", "S.SUPPORT_SEES_ALL_HOUSEHOLDS", True),
        ("ENGINE_PACE", "4", "S.ENGINE_PACE", 4),
    ],
)
def test_a_good_value_is_taken(
    tmp_path: Path, name: str, value: str, code: str, result: object
) -> None:
    completed = settings(tmp_path, f"print(json.dumps({code}))", **{name: value})
    assert completed.returncode == 0, completed.stderr
    assert json.loads(completed.stdout) == result


def test_keys_are_made_once_and_kept(tmp_path: Path) -> None:
    code = "print(S.SECRET_KEY, *S.KEY_RING.newest_first(), S.AUDIT_KEY)"
    first = settings(tmp_path / "new" / "home", code)
    assert first.returncode == 0, first.stderr
    assert settings(tmp_path / "new" / "home", code).stdout == first.stdout
    assert (tmp_path / "new" / "home" / "keys.json").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "new" / "home").stat().st_mode & 0o777 == 0o700
    assert settings(tmp_path / "other", code).stdout != first.stdout


def test_keys_made_by_several_processes_at_once_are_the_same(tmp_path: Path) -> None:
    variables = os.environ | {"ENV_FILE": "", "DATA_DIR": str(tmp_path)}
    code = "import thermacell_web.settings as S; print(S.SECRET_KEY)"
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code], cwd=ROOT, env=variables, stdout=subprocess.PIPE
        )
        for _ in range(4)
    ]
    assert len({process.communicate()[0] for process in running}) == 1
    assert [path.name for path in tmp_path.glob("keys*")] == ["keys.json"]


def test_a_spoiled_key_file_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text("{")
    ended = check(tmp_path)
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert "restore it from a backup" in ended.stderr
    assert (tmp_path / "keys.json").read_text() == "{"


def test_an_environment_file_is_read_and_the_environment_wins(tmp_path: Path) -> None:
    file = tmp_path / "some.env"
    file.write_text(
        f"# a comment\nCLUSTER_NAME=from-file\nTIME_ZONE=Europe/Berlin\nDEBUG=yes\n"
        f"SECRET_KEY='{LONG}${{HOME}}'\nPUBLIC_URL=https://hubs.example.org\n"
    )
    completed = settings(
        tmp_path,
        "print(S.Q_CLUSTER['name'], S.TIME_ZONE, S.DEBUG, S.SECRET_KEY, S.PUBLIC_URL)",
        ENV_FILE=str(file),
        TIME_ZONE="Europe/Paris",
    )
    assert completed.stdout == (
        f"from-file Europe/Paris True {LONG}${{HOME}} https://hubs.example.org\n"
    )


def test_a_bad_value_in_the_file_is_refused_like_any_other(tmp_path: Path) -> None:
    file = tmp_path / "some.env"
    for text in ("TIME_ZONE=Mars/Base\n", "TIME_ZONE\n"):
        file.write_text(text)
        ended = check(tmp_path, ENV_FILE=str(file))
        assert ended.returncode == 1
        assert "TIME_ZONE" in ended.stderr
        assert ended.stderr.count("\n") == 1


def test_the_example_names_exactly_what_is_read() -> None:
    named = set(re.findall(r"^# ([A-Z][A-Z0-9_]+)=", EXAMPLE, re.MULTILINE))
    read: set[str] = {"ENV_FILE"}
    for module in ("settings", "environment", "keys", "issuer"):
        tree = ast.parse((ROOT / "thermacell_web" / f"{module}.py").read_text())
        for node in ast.walk(tree):
            is_reading = isinstance(node, ast.Call) and re.match(
                r"(read_\w+|given|os\.environ\.get)$", ast.unparse(node.func)
            )
            if isinstance(node, ast.Call) and is_reading:
                arguments = [a.value for a in node.args if isinstance(a, ast.Constant)]
                read |= {a for a in arguments[:1] if isinstance(a, str) and a.isupper()}
            if isinstance(node, ast.comprehension) and isinstance(node.iter, ast.Tuple):
                names = {str(e.value) for e in node.iter.elts if isinstance(e, ast.Constant)}
                read |= {name for name in names if name.isupper()}
    assert named == read | START_ONLY


def test_every_line_of_the_example_is_explained() -> None:
    lines = EXAMPLE.splitlines()
    for number, line in enumerate(lines):
        assert line == "" or line.startswith("# "), line
        if re.match(r"# [A-Z0-9_]+=", line):
            block = lines[:number]
            before = next(one for one in reversed(block) if not re.match(r"# [A-Z0-9_]+=", one))
            assert before.startswith("# "), f"{line} has no words above it"


def test_the_example_as_it_is_changes_nothing(tmp_path: Path) -> None:
    every = re.sub(r"^# ([A-Z0-9_]+=)", r"\1", EXAMPLE, flags=re.MULTILINE)
    every = re.sub(r"^(DATA_DIR|ENV_FILE)=.*\n", "", every, flags=re.MULTILINE)
    file = tmp_path / "every.env"
    file.write_text(every)
    code = "print({n: getattr(S, n) for n in dir(S) if n.isupper() and n != 'BASE_DIR'})"
    completed = settings(tmp_path, code, ENV_FILE=str(file))
    assert completed.returncode == 0, completed.stderr
    assert completed.stdout == settings(tmp_path, code).stdout


def test_production_settings_pass_the_deployment_check(tmp_path: Path) -> None:
    variables = {"PUBLIC_URL": "https://hubs.example.org", "BEHIND_PROXY": "true"}
    ended = subprocess.run(
        [
            *(sys.executable, "-W", "error", "manage.py", "check"),
            *("--deploy", "--fail-level", "WARNING"),
        ],
        cwd=ROOT,
        env=environment(tmp_path, variables),
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    assert "no issues" in ended.stdout


def test_a_new_key_is_one_that_is_taken(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "manage.py", "new_key"],
        cwd=ROOT,
        env=os.environ | {"ENV_FILE": "", "DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert check(tmp_path, ENCRYPTION_KEYS=ended.stdout.strip()).returncode == 0


@pytest.mark.parametrize(
    ("public_url", "hsts", "expected"),
    [
        ("https://hubs.example.org", "", [365 * 86400, False, False]),
        ("https://hubs.example.org", "host", [365 * 86400, False, False]),
        ("https://hubs.example.org", "SubDomains", [365 * 86400, True, False]),
        ("https://hubs.example.org", "preload", [365 * 86400, True, True]),
        ("http://hubs.example.org", "preload", [0, False, False]),
    ],
)
def test_only_an_administrator_binds_other_hosts_to_https(
    tmp_path: Path, public_url: str, hsts: str, expected: list[object]
) -> None:
    names = ("SECONDS", "INCLUDE_SUBDOMAINS", "PRELOAD")
    code = "print(json.dumps([" + ", ".join(f"S.SECURE_HSTS_{name}" for name in names) + "]))"
    ended = settings(tmp_path, code, PUBLIC_URL=public_url, HSTS=hsts)
    assert json.loads(ended.stdout) == expected, ended.stderr


def test_only_the_web_server_keeps_what_it_loaded_from_the_collector(tmp_path: Path) -> None:
    def frozen(load: str) -> int:
        code = f"import gc; {load}; print(gc.get_freeze_count())"
        return int(settings(tmp_path, code).stdout)

    command = frozen(
        "import os; os.environ['DJANGO_SETTINGS_MODULE'] = 'thermacell_web.settings'; "
        "import django; django.setup()"
    )
    assert frozen("import thermacell_web.wsgi") > command + 10_000
    assert command < 10_000


@pytest.mark.parametrize(
    ("line", "near"),
    [
        ("PUBLIC_ULR=https://hubs.example.org", "PUBLIC_URL"),
        ("BEHIND_PROXI=true", "BEHIND_PROXY"),
        ("ALLOWED_HOST=nas", "ALLOWED_HOSTS"),
        ("public_url=http://nas", "PUBLIC_URL"),
        ("EMAILURL=console:", "EMAIL_URL"),
    ],
)
def test_a_misspelt_name_in_the_file_leads_to_the_right_one(
    tmp_path: Path, line: str, near: str
) -> None:
    file = tmp_path / "env"
    file.write_text(f"{line}\n")
    ended = settings(tmp_path, "", ENV_FILE=str(file))
    name = line.partition("=")[0]
    assert ended.returncode == 1
    assert f"{name} in {file} is no setting of this product. Is {near} meant?" in ended.stderr


def test_names_for_other_programs_may_stand_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("COMPOSE_PROJECT_NAME=x\nTZ=UTC\nPOSTGRES_PASSWORD=x\nHTTPS_PROXY=http://p:1\n")
    assert settings(tmp_path, "", ENV_FILE=str(file)).returncode == 0


def test_a_secret_may_stand_in_a_file(tmp_path: Path) -> None:
    place = tmp_path / "secret key"
    place.write_text(f"{LONG}\n")
    code = "print(S.SECRET_KEY)"
    read = settings(tmp_path, code, SECRET_KEY_FILE=str(place))
    assert (read.stdout, read.stderr) == (f"{LONG}\n", "")
    # as in a file of settings
    file = tmp_path / "some.env"
    file.write_text(f"SECRET_KEY_FILE='{place}'\n")
    assert settings(tmp_path, code, ENV_FILE=str(file)).stdout == f"{LONG}\n"


@pytest.mark.parametrize(
    ("content", "more", "sentence"),
    [
        (None, {}, "must name a file that this user can read"),
        ("", {}, "must name a file that this user can read"),
        (LONG, {"SECRET_KEY": LONG}, "must be empty while SECRET_KEY is set"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(
    tmp_path: Path, content: str | None, more: dict[str, str], sentence: str
) -> None:
    place = tmp_path / "secret"
    if content is not None:
        place.write_text(content)
    ended = check(tmp_path, SECRET_KEY_FILE=str(place), **more)
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert f"SECRET_KEY_FILE {sentence}" in ended.stderr
    assert LONG not in ended.stderr


def test_every_secret_may_stand_in_a_file() -> None:
    named = re.search(r"# What may hold a secret \((.*?)\) can stand", EXAMPLE, re.DOTALL)
    assert named is not None
    words = set(re.findall(r"[A-Z][A-Z_]+", named[1]))
    keys = {"SECRET_KEY", "SECRET_KEY_FALLBACKS", "ENCRYPTION_KEYS", "AUDIT_KEY"}
    assert words | keys == IN_FILES
