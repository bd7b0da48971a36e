"""What is stored for people: codes with parameters, rendered in the reader's language.

Each text stands here once. What is stored names its code, so a text may be reworded at any time; a
code never changes. The trail keeps the English sentence of the moment instead (`english`).
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Union

from django.db import models
from django.utils.translation import gettext_lazy as _
from django.utils.translation import override

from devices.models.choices import NamedChoices
from devices.models.text import isolate, mask_emails


class MessageCode(NamedChoices):
    # queues
    QUEUE_STOPPED = _("An update queue stopped. %(words)s")
    QUEUE_STOPPED_BY = _("Stopped by %(name)s.")
    QUEUE_HUB_FAILED = _("The update on %(hub)s was not verified, so the queue stopped.")
    QUEUE_SIGNED_OUT = _("Sign in to the cloud account again before the queue can continue.")
    QUEUE_TOO_OLD = _("The confirmation expired; the remaining updates were not started.")
    HUB_TOO_OLD = _("The confirmation expired.")
    HUB_PERSON_LEFT = _("The person who confirmed it no longer has access to this server.")
    RESTORED = _(
        "This server was restored from a backup. The update may have started after that "
        "backup was made."
    )
    # cloud accounts
    ACCOUNT_OTHER_USER = _(
        "The cloud at %(cloud)s answered for another user than the one you linked. Nothing "
        "was changed. Please sign in to the cloud account again."
    )
    # why something cannot be done now
    HUB_GONE = _("This hub is no longer in the cloud account.")
    ACCOUNT_UNLINKED = _("This hub's cloud account is unlinked.")
    ACCOUNT_SIGNED_OUT = _("Sign in to this hub's cloud account again first.")
    NO_OFFER = _("There is currently no new firmware for this hub.")
    OFFER_UNKNOWN = _(
        "Whether there is new firmware for this hub is not known: the last check failed."
    )
    NOT_CHECKED = _("This hub has not been checked for firmware yet.")
    ALREADY_INSTALLED = _("The hub already runs %(version)s.")
    HUB_OFFLINE = _("The hub is offline. It must be online to receive new firmware.")
    JOB_RUNNING = _("An install is already running on this hub.")
    OFFER_SWAPPED = _("The cloud's offer has changed since the form was opened.")
    DISMISSED = _("%(version)s is dismissed here. Undo that first to install it.")
    MAY_NOT_INSTALL = _("Your role does not allow installing. Ask a member or owner.")
    MAY_NOT_CANCEL = _("Your role does not allow cancelling.")
    MAY_NOT_DECIDE = _("Your role does not allow answering proposals.")
    SENT_OR_OVER = _("Too late to cancel: it was already sent or has ended.")
    SENT_MEANWHILE = _("Too late to cancel: the install's status has just changed.")
    STAFF_DO_NOT_DECIDE = _("Staff cannot answer on behalf of a household.")
    IS_STAFF = _("This person is on the staff of this server.")
    OTHER_HOUSEHOLD = _("This person also belongs to another household.")
    SIGN_IN_CLOSED = _("This person's account is closed.")
    # proposals
    PROPOSED = _("%(name)s proposes %(version)s for %(hub)s. You decide.")
    PROPOSED_SEVERAL = _("%(name)s proposes new firmware for %(n)s hubs. You decide.")
    ALREADY_PROPOSED = _("%(version)s is already proposed.")
    PROPOSAL_OVER = _("This proposal can no longer be answered.")
    HUB_IN_USE = _("The hub is in use.")
    NIGHT_OVER = _("The night ended before the install could start.")
    # plans
    PLAN_TOO_EARLY = _("It does not start before %(at)s.")
    PLAN_OUTSIDE_WINDOW = _("It starts between %(start)s and %(end)s.")
    PLAN_TURN = _("Another install of this household is running.")
    PLAN_QUEUE_TURN = _("Other hubs of its queue come first.")
    PLAN_QUEUE_STOPPED = _("Its queue is stopped.")
    PLAN_RESTING = _("The cloud does not answer at the moment and is asked again soon.")
    PLAN_TRIED = _("Another install was started on this hub after it was planned.")
    PLAN_RIGHT_LOST = _("The person who planned it can no longer install here.")
    PLAN_PRESS_NOT_ALLOWED = _("Home Assistant planned it and may no longer install on this hub.")
    PLAN_SEASON = _("The household is stored for winter. It waits until that ends.")
    PLAN_STORED = _("The household was stored for winter before its turn came.")
    PLAN_NOT_SENT = _("Nothing could be sent the last time.")
    PLAN_EXPIRED = _("It could not start in time.")
    PLAN_REPLACED = _("A newer plan for this hub replaced it.")
    PLAN_CANCELLED_BY = _("Cancelled by %(name)s.")
    PLAN_ENDED = _("%(version)s was planned for %(hub)s and will not start. %(words)s")
    # update policies
    HUB_USED_LATELY = _("The repellent was on until a short time ago.")
    POLICY_ASKS = _("The update policy asks you for this hub.")
    POLICY_CHANGED = _("The update policy was changed.")
    POLICY_RIGHT_LOST = _("The owner who set the update policy lost that right.")
    POLICY_NO_NOTICE = _("No one in this household is notified of decisions.")
    POLICY_NOT_NEWER = _("%(version)s may not be newer than what the hub runs.")
    POLICY_HELD = _("%(version)s is held on this server.")
    POLICY_TRIED = _("%(version)s was tried on this hub and did not end well, or was cancelled.")
    POLICY_TROUBLE = _("%(version)s did not end well on %(hub)s, so the others are left alone.")
    POLICY_TOO_NEW = _("%(version)s is too new. The waiting days end %(at)s.")
    POLICY_FIRST = _("Another hub goes first, until %(version)s is verified on it.")
    POLICY_AFTER_FIRST = _("%(version)s was verified on the first hub. The others follow %(at)s.")
    POLICY_PLANNED = _("An install is planned for it already.")
    POLICY_ANNOUNCED = _(
        "%(version)s installs itself on %(hub)s, from %(at)s, when it is not in use. Open the "
        "link to say: not this one."
    )
    POLICY_ANNOUNCED_MANY = _(
        "%(version)s installs itself on %(n)s hubs, from %(at)s, when they are not in use. "
        "Open the link to say: not this one."
    )
    POLICY_RESTS = _(
        "The update policy rests: %(name)s, who set it, may no longer do so. Nothing installs "
        "by itself until an owner saves it again."
    )
    # presses in Home Assistant
    PRESS_RETAINED = _(
        "A stored install command on the broker was ignored. Only a new press counts."
    )
    PRESS_UNREADABLE = _("This command does not belong to this entity.")
    PRESS_USED = _("This command was already used. Press again if you want to install.")
    PRESS_NOT_ALLOWED = _(
        "Home Assistant may not install on this hub. An owner can allow it on the "
        "household's Home Assistant page in Thermacell Web."
    )
    PRESS_NO_LONGER_ALLOWED = _(
        "The person who allowed Home Assistant to install no longer owns this household. "
        "An owner must allow it again."
    )
    PRESS_HUB_IN_USE = _(
        "The repellent was on at the last reading, and installing would stop it. Turn it "
        "off first, or install from the hub's page in Thermacell Web."
    )
    PRESS_OFFER_CHANGED = _("The offer has changed since it was shown.")
    CHANGED_FROM_VERSION = _("Installed version: %(before)s, now %(after)s.")
    CHANGED_TO_VERSION = _("New version: %(before)s, now %(after)s.")
    CHANGED_JOB = _("Cloud job: %(before)s, now %(after)s.")
    CHANGED_SIZE = _("Size in bytes: %(before)s, now %(after)s.")
    CHANGED_MD5 = _("MD5: %(before)s, now %(after)s.")
    PRESS_SENT_NOTHING = _("This command sent nothing to the hub.")
    # messages that could not be sent
    NOT_MADE = _(
        "The message could not be created. This is an error on our side; see the log for details."
    )
    ADDRESS_SEALED = _("Its address cannot be decrypted with this server's keys. Enter it again.")
    NOT_TAKEN = _("The service did not accept the message or did not answer.")
    NO_MAIL_SERVER = _(
        "This server has no mail server. The administrator can set one with EMAIL_URL."
    )
    MAIL_NOT_TAKEN = _("The mail server did not accept it (%(problem)s).")
    PUSH_NOT_TAKEN = _("The push service did not accept it (HTTP %(status)s).")
    PUSH_UNREACHABLE = _("The push service %(host)s did not answer.")
    PUSH_NOT_CALLED = _(
        "The push service %(host)s is not called: it is inside a private network, or its "
        "certificate is not valid."
    )
    PUSH_SEALED = _(
        "The keys of this device cannot be decrypted with this server's keys. Remove the "
        "device and turn its notifications on again."
    )
    SERVICE_UNKNOWN = _("This server cannot use this service. Supported services: %(known)s.")
    SERVICE_MISSPELT = _("This address is incomplete or misspelt. Copy it again.")
    SERVICE_HOST_NOT_ALLOWED = _(
        "This server sends only to the hosts that its administrator set in NOTIFY_HOSTS: "
        "%(allowed)s. Enter the full address, such as ntfys://ntfy.sh/my-topic."
    )
    # firmware files
    FILE_NOT_OFFERED = _("The cloud no longer offers this file.")
    FILE_OTHER_NOW = _("The cloud now gives a different size or MD5.")
    FILE_NO_LINK = _("The cloud no longer provides a link to the file.")
    FILE_NOT_ASKED = _("The file could not be requested from the cloud (%(trouble)s).")
    FILE_LINK_NO_ADDRESS = _("The link to the file is not valid.")
    FILE_LINK_NOT_HTTPS = _("The link to the file must begin with https://.")
    FILE_LINK_PRIVATE = _(
        "The link to the file leads into a private network (%(host)s), so it was not opened."
    )
    FILE_LINK_MOVED = _("The link to the file redirects to another address. It was not followed.")
    FILE_LINK_EXPIRED = _("The link to the file is no longer valid.")
    FILE_PACKED = _("The file was packed in an unexpected way.")
    FILE_SERVER_BUSY = _("The file server asks for fewer requests.")
    FILE_SERVER_TROUBLE = _("The file server has a problem.")
    FILE_SERVER_UNREACHABLE = _("The file server %(host)s cannot be reached.")
    FILE_NOT_THERE = _("The file server does not have this file (HTTP %(status)s).")
    FILE_TOO_LARGE = _("The file is larger than %(bytes)s bytes.")
    FILE_CUT_OFF = _("The file download was incomplete.")
    FILE_OTHER_SIZE = _("The file has %(bytes)s bytes; the cloud gives %(said)s.")
    FILE_OTHER_MD5 = _("The file's MD5 is %(md5)s; the cloud gives %(said)s.")
    FILE_WITHOUT_MD5 = _("The cloud gives no MD5 for this file.")
    FILE_NO_MD5 = _("The cloud's MD5 is not valid: it is not hexadecimal.")
    FILE_WITHOUT_SIZE = _("The cloud gives no size for this file.")
    # the worker, after "The worker was restarted, because"
    WORKER_STOPPED = _("it had stopped")
    WORKER_SILENT = _("it had stopped responding")
    # the daily head of the trail
    HEAD_NOT_WRITTEN = _("The daily head could not be saved: %(problem)s.")
    HEAD_NOT_MAILED = _("The daily head could not be sent by e-mail: %(problem)s.")
    # a sentence from before there were codes
    AS_IT_STANDS = "%(text)s"


Param = Union[str, int, "Message"]


def _masked(one: Param) -> Param:
    if isinstance(one, Message):
        return one.masked()
    return mask_emails(one) if isinstance(one, str) else one


@dataclass(frozen=True, slots=True)
class Message:
    """One or more codes with their parameters; str() is the text in the active language."""

    parts: tuple[tuple[MessageCode, Mapping[str, Param]], ...] = ()

    @classmethod
    def of(cls, code: MessageCode, **params: Param) -> "Message":
        """Return the message with this one text."""
        return cls(((code, params),))

    @classmethod
    def join(cls, messages: Iterable["Message"]) -> "Message":
        """Return all of them as one."""
        return cls(tuple(part for message in messages for part in message.parts))

    def __bool__(self) -> bool:
        return bool(self.parts)

    def __str__(self) -> str:
        return self._text(isolate)

    @property
    def english(self) -> str:
        """Return the text in English, for the trail and the log."""
        with override("en"):
            return self._text(str)

    def _text(self, quote: Callable[[str], str]) -> str:
        """Return the text in the active language, each parameter that is a text quoted."""
        return " ".join(
            str(code.label)
            % {name: quote(one) if isinstance(one, str) else one for name, one in params.items()}
            for code, params in self.parts
        )

    def masked(self) -> "Message":
        """Return it with the e-mail addresses in its parameters masked."""
        return Message(
            tuple(
                (code, {name: _masked(one) for name, one in params.items()})
                for code, params in self.parts
            )
        )

    def as_json(self) -> list[dict[str, Any]]:
        """Return what `read` understands."""
        return [
            {
                "code": code.value,
                "params": {
                    name: value.as_json() if isinstance(value, Message) else value
                    for name, value in params.items()
                },
            }
            for code, params in self.parts
        ]

    @classmethod
    def read(cls, kept: object) -> "Message":
        """Return the message that was kept as JSON, or the text from before as it stands."""
        if not kept:
            return cls()
        try:
            parts: Any = json.loads(kept) if isinstance(kept, str) else kept
            return cls(
                tuple(
                    (
                        MessageCode(part["code"]),
                        {
                            name: cls.read(value) if isinstance(value, list) else value
                            for name, value in part["params"].items()
                        },
                    )
                    for part in parts
                )
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            return cls.of(MessageCode.AS_IT_STANDS, text=str(kept))


NO_MESSAGE = Message()
if TYPE_CHECKING:
    MessageText = models.Field[Message, Message]
else:
    MessageText = models.TextField


class MessageField(MessageText):
    """Keeps a Message as JSON text, an empty one as "". It takes no sentence."""

    def deconstruct(self) -> tuple[str, str, Any, Any]:
        """To migrations it is text, so that they do not depend on this module."""
        name, _, args, options = super().deconstruct()
        return name, "django.db.models.TextField", args, options

    def get_default(self) -> Message:
        return NO_MESSAGE

    def from_db_value(self, value: str | None, *_: Any) -> Message:
        return Message.read(value)

    def to_python(self, value: Any) -> Message:
        return value if isinstance(value, Message) else Message.read(value)

    def get_prep_value(self, value: Any) -> Any:
        if isinstance(value, Message):
            return json.dumps(value.as_json()) if value else ""
        if value in ("", None):
            return ""
        raise TypeError(f"{self.name} keeps a Message, not {type(value).__name__}")

    def value_to_string(self, obj: models.Model) -> str:
        return str(self.get_prep_value(self.value_from_object(obj)))
