"""Every setting of the product, read from the environment. `.env.example` lists the variables."""

from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from csp.constants import NONE, SELF

from thermacell_web.environment import (
    LOG_LEVELS,
    read_addresses,
    read_bool,
    read_choice,
    read_clouds,
    read_contact,
    read_data_dir,
    read_database,
    read_email,
    read_env_file,
    read_file,
    read_folder,
    read_hosts,
    read_levels,
    read_mqtt,
    read_number,
    read_origin,
    read_pem,
    read_places,
    read_program,
    read_redis,
    read_secret,
    read_sender,
    read_start,
    read_time_zone,
    read_word,
)
from thermacell_web.issuer import read_issuer
from thermacell_web.keys import read_fallbacks, read_keys

BASE_DIR = Path(__file__).resolve().parent.parent
read_env_file(BASE_DIR / ".env")  # what the environment already says wins over the file
DATA_DIR = read_data_dir(Path("var", "home"), BASE_DIR)

DEBUG = read_bool("DEBUG")
# What the latest start set aside: a command beside it, which it did not start, must know the same.
_start = read_start(DATA_DIR)
PUBLIC_URL = read_origin("PUBLIC_URL", _start.get("PUBLIC_URL", "http://localhost:8000"))
IS_HTTPS = PUBLIC_URL.startswith("https://")

keys = read_keys(DATA_DIR)
SECRET_KEY = keys.secret
KEY_RING = keys.ring
AUDIT_KEY = keys.audit
SECRET_KEY_FALLBACKS = read_fallbacks("SECRET_KEY_FALLBACKS")

ALLOWED_HOSTS = list(
    dict.fromkeys(
        (
            urlsplit(PUBLIC_URL).hostname or "localhost",
            "localhost",
            "127.0.0.1",
            "[::1]",
            *read_hosts("ALLOWED_HOSTS"),
        )
    )
)
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL] if IS_HTTPS else []

INSTALLED_APPS = [
    "devices",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "csp",
    "django_htmx",
    "django_q",
]

MIDDLEWARE = [
    "devices.middleware.RequestContext",
    "devices.middleware.SecureHeaders",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "devices.middleware.Alive",
    "csp.middleware.CSPMiddleware",
    "devices.middleware.KnownProxy",
    "devices.middleware.Compressed",
    "devices.middleware.Refusals",
    "devices.views.database_away.DatabaseAway",
    "devices.views.not_modified.NotModified",
    "devices.security.session_cookie.SealedSessions",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "devices.middleware.Language",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "devices.middleware.SessionLimits",
    "devices.views.access.HouseholdZone",
]

ROOT_URLCONF = "thermacell_web.urls"
WSGI_APPLICATION = "thermacell_web.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "builtins": ["django.templatetags.i18n"],
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "devices.context_processors.page",
            ],
        },
    }
]

_database = read_database("DATABASE_URL", DATA_DIR / "db.sqlite3")
# Several machines may share it, each with a clock of its own: see devices/models/database_clock.py.
DATABASE_CLOCK = not _database["ENGINE"].endswith("sqlite3")
if _database["ENGINE"].endswith("sqlite3"):
    # IMMEDIATE: a deferred transaction that turns to writing fails at once under WAL, whatever
    # the timeout (SQLite documentation, "Transactions"). NORMAL keeps WAL consistent.
    _database["OPTIONS"] = {
        "timeout": 20,
        "transaction_mode": "IMMEDIATE",
        "init_command": (
            "PRAGMA journal_mode=WAL;PRAGMA synchronous=NORMAL;"
            "PRAGMA cache_size=-20000;PRAGMA foreign_keys=ON;"
        ),
    }
else:
    # A server that vanished from the network is noticed within half a minute, at either end, and
    # nothing holds a lock for longer: then its transaction is rolled back and the work is tried
    # again (PostgreSQL documentation: libpq parameters, client connection defaults).
    _database.setdefault("OPTIONS", {})
    _database["OPTIONS"] = {
        "connect_timeout": 5,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 25_000,
        **_database["OPTIONS"],
    }
    _limits = {
        "lock_timeout": "20s",
        "idle_in_transaction_session_timeout": "20s",
        "tcp_keepalives_idle": 10,
        "tcp_keepalives_interval": 5,
        "tcp_keepalives_count": 3,
        "tcp_user_timeout": 25_000,
    }
    _given = _database["OPTIONS"].get("options", "")
    _database["OPTIONS"]["options"] = " ".join(
        [*(f"-c {name}={value}" for name, value in _limits.items()), _given]
    ).strip()
# A household's server shares its memory among as few processes as can be.
_is_small = _database["ENGINE"].endswith("sqlite3")
# That serve pages: a password that is checked in one keeps no page of the other waiting. That carry
# out cloud calls (1: all in threads of one process).
WEB_PROCESSES = read_number("WEB_PROCESSES", 2, 1, 64)
WORKER_PROCESSES = read_number("WORKER_PROCESSES", 1 if _is_small else 3, 1, 64)
_database["CONN_MAX_AGE"] = 600
_database["CONN_HEALTH_CHECKS"] = True
DATABASES = {"default": _database}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = read_redis("REDIS_URL")
CACHES = {
    "default": (
        {
            "BACKEND": "devices.security.shared_cache.RedisOrDatabase",
            "LOCATION": REDIS_URL,
            "OPTIONS": {
                "serializer": "devices.security.cache_values.Json",
                "socket_connect_timeout": 3,
                "socket_timeout": 5,
            },
            "VERSION": 2,  # values of version 1 were pickles
        }
        if REDIS_URL
        else {"BACKEND": "devices.security.shared_cache.DatabaseCache"}
    )
}

# Tasks are wake-ups: what is to be done lives in the tables, so one that is lost or comes twice
# does no harm. Three workers: the two loops may each hold one, and one stays free.
Q_CLUSTER = {
    "name": read_word("CLUSTER_NAME", "thermacell-web"),
    "orm": "default",
    "broker_class": "devices.taskqueue.allow_list.Broker",
    "workers": max(WORKER_PROCESSES, 3),
    "queue_limit": 3,
    "bulk": 1,
    "poll": 0.25,
    "timeout": 180,
    "retry": 600,
    "ack_failures": True,
    "save_limit": -1,
    "recycle": 500,
    "guard_cycle": 1,
    "label": "Queue",
}

AUTH_USER_MODEL = "devices.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
PASSWORD_HASHERS = ["devices.security.password_hashing.BoundedArgon2"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "hubs"
ACCOUNT_ADAPTER = "devices.security.allauth_adapters.InvitedOnly"
USERSESSIONS_ADAPTER = "devices.security.allauth_adapters.EndedSessions"
ACCOUNT_FORMS = {
    "login": "devices.forms.sign_in.SignInForm",
    "reset_password": "devices.forms.password_reset.RequestForm",
}
ACCOUNT_PASSWORD_RESET_TOKEN_GENERATOR = "devices.households.password_links.PasswordLinks"  # noqa: S105
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_LOGOUT_REDIRECT_URL = "account_login"
# Every other session ends: its hash no longer fits the new password.
ACCOUNT_LOGOUT_ON_PASSWORD_CHANGE = False
ACCOUNT_REAUTHENTICATION_TIMEOUT = 300
# For each address (ip), each account (key: what was typed as such) and each person (user). How
# fast one account's password may be tried is in devices/security/sign_in_pace.py.
ACCOUNT_RATE_LIMITS = {
    "login": "30/m/ip",
    "login_failed": "10/m/ip",
    "reset_password": "20/m/ip,5/m/key",
    "reset_password_from_key": "20/m/ip",
    "change_password": "5/m/user",
    "reauthenticate": "10/m/user",
}
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False

MFA_ADAPTER = "devices.security.allauth_adapters.SealedFactors"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
# Addresses are bound by the invitation; there is no page to verify them again.
MFA_ALLOW_UNVERIFIED_EMAIL = True
MFA_TOTP_ISSUER = "Thermacell Web"

# An OpenID Connect issuer may sign people in who linked it here; see devices/security/oidc.py.
OIDC = read_issuer()
if OIDC is not None:
    INSTALLED_APPS += ["allauth.socialaccount", "allauth.socialaccount.providers.openid_connect"]
SOCIALACCOUNT_PROVIDERS = (
    {
        "openid_connect": {
            "OAUTH_PKCE_ENABLED": True,
            "APPS": [
                {
                    "provider_id": "sso",
                    "name": OIDC.name,
                    "client_id": OIDC.client_id,
                    "secret": OIDC.secret,
                    "settings": {"server_url": OIDC.address},
                }
            ],
        }
    }
    if OIDC is not None
    else {}
)
SOCIALACCOUNT_ADAPTER = "devices.security.oidc.KnownPeopleOnly"
SOCIALACCOUNT_OPENID_CONNECT_URL_PREFIX = ""

# A session ends when it is idle for so long, and in any case after so many days. That of staff
# ends sooner: see STAFF_IDLE.
SESSION_ENGINE = "devices.security.session_store"
SESSION_IDLE = timedelta(hours=read_number("SESSION_IDLE_HOURS", 72, 1, 24 * 90))
SESSION_LONGEST = timedelta(days=read_number("SESSION_DAYS", 30, 1, 365))
STAFF_IDLE, STAFF_LONGEST = timedelta(minutes=30), timedelta(hours=12)
SESSION_COOKIE_AGE = int(SESSION_LONGEST.total_seconds())
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = IS_HTTPS
if IS_HTTPS:
    SESSION_COOKIE_NAME = "__Host-session"
    CSRF_COOKIE_NAME = "__Host-csrf"
CSRF_FAILURE_VIEW = "devices.views.form_drafts.csrf_failure"
# asked from this very machine, behind any proxy
SECURE_REDIRECT_EXEMPT = [r"^(healthz|readyz|metrics)$"]
SECURE_HSTS_SECONDS = int(timedelta(days=365).total_seconds()) if IS_HTTPS else 0
# Beyond this very host only when its administrator says so: a name below it may still serve http,
# and one on the browsers' preload list stays there for months.
_hsts = read_choice("HSTS", "host", ("host", "subdomains", "preload"))
SECURE_HSTS_INCLUDE_SUBDOMAINS = IS_HTTPS and _hsts in {"subdomains", "preload"}
SECURE_HSTS_PRELOAD = IS_HTTPS and _hsts == "preload"
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]  # which ask for both
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
BEHIND_PROXY = read_bool("BEHIND_PROXY")
# This server itself speaks http only: without a trusted proxy each redirect would end here again,
# see middleware.KnownProxy.
SECURE_SSL_REDIRECT = IS_HTTPS and BEHIND_PROXY
# How many proxies of ours add to X-Forwarded-For: what stands before theirs is hearsay.
PROXY_COUNT = read_number("PROXY_COUNT", 1, 1, 10)
if BEHIND_PROXY:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "object-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF],
        "font-src": [SELF],
        "connect-src": [SELF],
        # a sign-in form that leads on to the issuer is followed there
        "form-action": [SELF, *([OIDC.origin] if OIDC is not None else [])],
        "manifest-src": [SELF],
        "worker-src": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}

_email = read_email("EMAIL_URL")
EMAIL_BACKEND = _email["EMAIL_BACKEND"]
HAS_MAIL_SERVER = not EMAIL_BACKEND.endswith("console.EmailBackend")
EMAIL_HOST = _email.get("EMAIL_HOST") or ""
EMAIL_PORT = _email.get("EMAIL_PORT") or 25
EMAIL_HOST_USER = _email.get("EMAIL_HOST_USER") or ""
EMAIL_HOST_PASSWORD = _email.get("EMAIL_HOST_PASSWORD") or ""
EMAIL_USE_TLS = _email.get("EMAIL_USE_TLS", False)
EMAIL_USE_SSL = _email.get("EMAIL_USE_SSL", False)
EMAIL_TIMEOUT = _email.get("EMAIL_TIMEOUT") or 15
DEFAULT_FROM_EMAIL = read_sender("EMAIL_FROM", "Thermacell Web <noreply@localhost>")

LANGUAGE_CODE = "en"
# Each by its own name.
LANGUAGES = [("en", "English"), ("de", "Deutsch"), ("es", "Español")]
LANGUAGE_COOKIE_SECURE, LANGUAGE_COOKIE_HTTPONLY = IS_HTTPS, True
LANGUAGE_COOKIE_AGE = int(timedelta(days=365).total_seconds())
TIME_ZONE = read_time_zone("TIME_ZONE", "UTC")
USE_TZ = True

STATIC_URL = "static/"
WHITENOISE_ALLOW_ALL_ORIGINS = False
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = DATA_DIR / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": (
            "django.contrib.staticfiles.storage.StaticFilesStorage"
            if DEBUG
            else "whitenoise.storage.CompressedManifestStaticFilesStorage"
        )
    },
}

LOG_FORMAT = read_choice("LOG_FORMAT", "text", ("text", "json"))
# Where `manage.py start` lets its processes write.
LOG_TO = read_choice("LOG_TO", "files", ("files", "stdout"))
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "text": {
            "()": "devices.security.log_formatter.SafeFormatter",
            "format": "%(asctime)s %(levelname)s %(message)s",
        },
        "json": {"()": "devices.security.log_formatter.JsonFormatter"},
    },
    "handlers": {
        "stderr": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT},
        "errors": {
            "class": "devices.security.log_formatter.ErrorFile",
            "folder": DATA_DIR,
            "formatter": "json",
            "level": "ERROR",
        },
    },
    "root": {
        "handlers": ["stderr", "errors"],
        "level": read_choice("LOG_LEVEL", "INFO", LOG_LEVELS),
    },
    "loggers": {
        "django-q": {"handlers": [], "propagate": True, "level": "WARNING"},
        "gunicorn.error": {"handlers": [], "propagate": True, "level": "WARNING"},
        "waitress.queue": {"level": "ERROR"},  # a page may wait for a moment
        **{name: {"level": level} for name, level in read_levels("LOG_LEVELS").items()},
        "urllib3": {"level": "INFO"},  # below that it writes down whole addresses
    },
}

# Thermacell's cloud speaks the ESP RainMaker API (base address as pythermacell 0.3.1 uses it);
# the second is Espressif's public RainMaker cloud.
THERMACELL_CLOUD_URL = "https://api.iot.thermacell.com"
RAINMAKER_CLOUD_URL = "https://api.rainmaker.espressif.com"
DEFAULT_CLOUD_URL = read_origin("DEFAULT_CLOUD_URL", THERMACELL_CLOUD_URL)
# The only clouds this server ever calls.
_clouds = read_clouds("ALLOWED_CLOUDS") or [THERMACELL_CLOUD_URL, RAINMAKER_CLOUD_URL]
LOOPBACK_CLOUDS = "loopback" in _clouds
ALLOWED_CLOUDS = tuple(
    dict.fromkeys([DEFAULT_CLOUD_URL, *(cloud for cloud in _clouds if cloud != "loopback")])
)
# Where `manage.py start` can have a simulated cloud for trying things out; empty when it cannot.
TRIAL_CLOUD_URL = read_origin("TRIAL_CLOUD_URL", _start.get("TRIAL_CLOUD_URL", ""))
# Who may sign in to a demo, for its sign-in page. `manage.py start --demo` alone sets it, and no
# variable does.
SAMPLE_SIGN_INS = None
# A firmware file may be this large, and all that are kept together this much.
FIRMWARE_FILE_BYTES = read_number("FIRMWARE_FILE_MB", 16, 1, 1024) * 1_000_000
FIRMWARE_ARCHIVE_BYTES = read_number("FIRMWARE_ARCHIVE_MB", 500, 1, 1_000_000) * 1_000_000
SUPPORT_SEES_ALL_HOUSEHOLDS = read_bool("SUPPORT_SEES_ALL_HOUSEHOLDS")
# 1 is real time. A rehearsal against a simulated cloud that runs faster shortens the engine's
# waiting times by the same factor.
ENGINE_PACE = read_number("ENGINE_PACE", 1, 1, 1000)

# Home Assistant: the broker the hubs are shown at, unless a household names one of its own.
MQTT_URL = read_mqtt("MQTT_URL")
MQTT_CA_PEM = read_pem("MQTT_CA_FILE", BASE_DIR)
MQTT_CLIENT_PEM = read_pem("MQTT_CLIENT_FILE", BASE_DIR)
# The hosts that a notice may be sent to by a service that stands on a host of its own.
NOTIFY_HOSTS = read_places("NOTIFY_HOSTS", "ntfy.sh")
# Push services that may be called inside a private network, and whom a push service may write to.
PUSH_HOSTS = read_places("PUSH_HOSTS", "")
PUSH_CONTACT = read_contact("PUSH_CONTACT", PUBLIC_URL, DEFAULT_FROM_EMAIL)
# How long audit rows are kept; 0 is for ever. And where the trail's head goes once a day, so that
# a trail that was cut or rewritten is found even when the key was known.
AUDIT_KEEP_DAYS = read_number("AUDIT_KEEP_DAYS", 0, 0, 36500)
# What ended without an install of its own, such as plans and invitations; 0 is for ever.
ENDED_KEEP_DAYS = read_number("ENDED_KEEP_DAYS", 365, 0, 36500)
# Backups made by themselves: how often (0 is never), how many are kept, where, and a program of the
# administrator's that is called with each file.
BACKUP_EVERY_HOURS = read_number("BACKUP_EVERY_HOURS", 24, 0, 24 * 31)
BACKUP_KEEP = read_number("BACKUP_KEEP", 7, 1, 1000)
BACKUP_DIR = read_folder("BACKUP_DIR", DATA_DIR / "backups", BASE_DIR)
BACKUP_HOOK = read_program("BACKUP_HOOK", BASE_DIR)
# Where the trail ended is also kept in the data folder, in three files; see devices/audit/marks.py.
AUDIT_MARKS = tuple(DATA_DIR / folder / "audit-marks.jsonl" for folder in ("", "log", "backups"))
AUDIT_HEADS_FILE = read_file("AUDIT_HEADS_FILE", BASE_DIR)
AUDIT_HEADS_MAIL = read_addresses("AUDIT_HEADS_MAIL")
# Who has it may read /metrics and the details of /readyz without a session.
READY_TOKEN = read_secret("READY_TOKEN")
# The largest form that is read at all; the longest list of hubs is a tenth of it.
DATA_UPLOAD_MAX_MEMORY_SIZE = 1_000_000
# For each personal token; sixty hubs asked for one by one, each minute, need half of it.
API_ASKS_A_MINUTE = read_number("API_ASKS_A_MINUTE", 120, 1, 1_000_000)
