"""Post one encrypted message to the push service that a browser named.

The address comes from the browser, so from anyone who is signed in: only https at its usual port,
only the open internet (see rainmaker/address_guard.py), no redirect, and nothing of the answer is
read but its status. A host in PUSH_HOSTS may be anywhere, at any port it was named with.
"""

import time
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPException
from urllib.parse import urlsplit

import requests
import urllib3
from cryptography.hazmat.primitives.asymmetric import ec
from django.conf import settings
from requests.utils import get_environ_proxies

from devices.models.message import Message, MessageCode
from devices.notifications.push_encryption import authorization
from devices.rainmaker.address_guard import ForbiddenAddress, is_literal, is_this_machine, may_call
from devices.rainmaker.deadline_connections import WatchedAdapter, watched
from devices.rainmaker.errors import NotTrusted
from devices.rainmaker.http import certificates, checked_base_url, wrapped_causes

CONNECT_WITHIN_S, ANSWER_WITHIN_S, IN_ALL_S = 4.0, 10.0, 15.0
# A push service keeps what a device that is off cannot get for so long, then drops it.
KEPT_FOR_S = 24 * 3600
LONGEST_ADDRESS = 1000
HTTPS_PORT = 443
GONE = (404, 410)


class NotSent(Exception):
    """The message was not taken; it may be tried again. `message` is a sentence for people."""

    def __init__(self, message: Message) -> None:
        super().__init__(message)
        self.message = message


class SubscriptionGone(Exception):
    """The push service does not know this address any more; it never will again."""


@dataclass(frozen=True, slots=True)
class PushAddress:
    """Where one browser's messages are posted, as it was checked."""

    url: str
    host: str
    origin: str
    """Scheme, host and port, as the signature for it names them."""
    is_named: bool
    """Did the administrator name this host in PUSH_HOSTS?"""


def read_address(url: str) -> PushAddress:
    """Return the parts of a push address; raises ValueError unless it may be called. Looks up no
    name.
    """
    parts = urlsplit(url)
    is_plain = url.isascii() and url.isprintable() and " " not in url
    if parts.scheme != "https" or not is_plain or len(url) > LONGEST_ADDRESS:
        raise ValueError("not a https address")
    try:
        origin = checked_base_url(f"https://{parts.netloc}")
    except NotTrusted as problem:
        raise ValueError("not a host") from problem
    place = urlsplit(origin)  # in its plain form
    host, port = place.hostname or "", place.port
    is_named = bool({host, f"{host}:{port or HTTPS_PORT}"} & set(settings.PUSH_HOSTS))
    is_inside = is_this_machine(host) or (is_literal(host) and not may_call(host))
    if port == 0 or (not is_named and (port is not None or is_inside)):
        raise ValueError("this host is not called")
    return PushAddress(url, host, origin, is_named)


def post(
    address: PushAddress,
    body: bytes,
    key: ec.EllipticCurvePrivateKey,
    *,
    topic: str,
    is_urgent: bool,
) -> None:
    """Return when the push service took the message, within 15 s. Raises NotSent and
    SubscriptionGone.

    topic: up to 32 letters and digits; a later message with it replaces one that still waits.
    """
    headers = {
        "Authorization": authorization(key, address.origin, settings.PUSH_CONTACT, time.time()),
        "Content-Encoding": "aes128gcm",
        "Content-Type": "application/octet-stream",
        "TTL": str(KEPT_FOR_S),
        "Urgency": "high" if is_urgent else "normal",
        "Topic": topic,
        "User-Agent": "thermacell-web",
    }
    request = requests.Request("POST", address.url, headers=headers, data=body).prepare()
    is_here = is_this_machine(address.host)
    proxies = {} if is_here else get_environ_proxies(address.url, no_proxy=None)
    with (
        closing(WatchedAdapter(max_retries=0)) as adapter,
        watched(IN_ALL_S, is_here=is_here, is_named=address.is_named),
    ):
        try:
            answer = adapter.send(
                request,
                stream=True,
                timeout=(CONNECT_WITHIN_S, ANSWER_WITHIN_S),
                verify=certificates(),
                proxies=proxies,
            )
            answer.close()
        except (
            requests.RequestException,
            urllib3.exceptions.HTTPError,
            HTTPException,
            OSError,
        ) as problem:
            # from None: what these say holds the address
            raise NotSent(_why(problem, address.host)) from None
    if answer.status_code in GONE:
        raise SubscriptionGone
    if not 200 <= answer.status_code < 300:
        raise NotSent(Message.of(MessageCode.PUSH_NOT_TAKEN, status=answer.status_code))


def _why(problem: Exception, host: str) -> Message:
    causes = (ForbiddenAddress, requests.exceptions.SSLError)
    is_barred = any(isinstance(one, causes) for one in wrapped_causes(problem))
    code = MessageCode.PUSH_NOT_CALLED if is_barred else MessageCode.PUSH_UNREACHABLE
    return Message.of(code, host=host)
