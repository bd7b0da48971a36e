"""What waits, and on whom: each line leads to the rows that it counts."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Q
from django.utils.functional import Promise
from django.utils.translation import gettext, gettext_lazy, ngettext

from devices.explanations.reasons import ReasonCode
from devices.fleet.attention import HubCounts
from devices.models import AccountState, User
from devices.permissions import accounts_for, plans_for, proposals_for
from devices.presentation.addresses import address
from devices.presentation.charts import hubs_words


@dataclass(frozen=True, slots=True)
class Wait:
    """Why plans wait, in words, and who or what ends that."""

    words: Promise
    whom: Promise
    codes: tuple[str, ...]


# Why plans wait, by the names in addresses. What is not named here is one line of its own.
WAITS: dict[str, Wait] = {
    "time": Wait(
        gettext_lazy("Planned for later"),
        gettext_lazy("the time"),
        (ReasonCode.TOO_EARLY, ReasonCode.OUTSIDE_WINDOW, ReasonCode.TOO_NEW),
    ),
    "offline": Wait(
        gettext_lazy("Planned, the hub is offline"),
        gettext_lazy("the hub"),
        (ReasonCode.HUB_OFFLINE,),
    ),
    "use": Wait(
        gettext_lazy("Planned, the hub is in use"),
        gettext_lazy("the hub"),
        (ReasonCode.IN_USE, ReasonCode.HUB_IN_USE),
    ),
    "turn": Wait(
        gettext_lazy("Planned, another install comes first"),
        gettext_lazy("other installs"),
        (ReasonCode.TURN, ReasonCode.JOB_RUNNING, ReasonCode.FIRST_HUB),
    ),
    "stopped": Wait(
        gettext_lazy("Planned, in a queue that stopped"),
        gettext_lazy("people who may install"),
        (ReasonCode.QUEUE_STOPPED,),
    ),
    "account": Wait(
        gettext_lazy("Planned, the cloud account is signed out"),
        gettext_lazy("the owner"),
        (ReasonCode.SIGNED_OUT,),
    ),
    "cloud": Wait(
        gettext_lazy("Planned, the cloud cannot be asked"),
        gettext_lazy("the cloud"),
        (ReasonCode.ACCOUNT_RESTING, ReasonCode.OFFER_UNKNOWN),
    ),
    "winter": Wait(
        gettext_lazy("Planned, stored for winter"), gettext_lazy("the owner"), (ReasonCode.SEASON,)
    ),
    "look": Wait(
        gettext_lazy("Planned, looked at in a moment"), gettext_lazy("this server"), ("",)
    ),
    "other": Wait(
        gettext_lazy("Planned, for another reason"), gettext_lazy("what its line says"), ()
    ),
}
_NAMED = [str(code) for wait in WAITS.values() for code in wait.codes]
_KEYS = {str(code): key for key, wait in WAITS.items() for code in wait.codes}


def waiting_for(key: str) -> Q:
    """Return which plans wait for what a key of WAITS names."""
    codes = [str(code) for code in WAITS[key].codes]
    return Q(waits_for__in=codes) if codes else ~Q(waits_for__in=_NAMED)


@dataclass(frozen=True, slots=True)
class Waiting:
    """One line: what waits, how many there are, and who or what ends that."""

    what: str
    whom: str
    count: int
    words: str
    link: str


def waiting_of(
    user: User, counts: HubCounts, now: datetime, within: int | None = None
) -> list[Waiting]:
    """Return everything that waits and is this person's to see. Three queries."""
    installers, owner = gettext("people who may install"), gettext("the owner")
    accounts = accounts_for(user, within=within).filter(state=AccountState.SIGNED_OUT).count()
    proposals = proposals_for(user, within).order_by().unanswered(now).count()
    plans = Counter[str]()
    waits = plans_for(user, within).waiting().order_by().values_list("waits_for")
    for code, n in waits.annotate(n=Count("pk")):
        plans[_KEYS.get(code, "other")] += n
    lines = [
        _hubs(gettext("New firmware to confirm"), installers, counts.new, "new"),
        _hubs(gettext("Hubs that need attention"), installers, counts.attention, "attention"),
        Waiting(
            gettext("Cloud accounts to sign in again"),
            owner,
            accounts,
            ngettext("%(n)s account", "%(n)s accounts", accounts) % {"n": accounts},
            address("accounts", show="signed_out"),
        ),
        Waiting(
            gettext("Proposals to answer"),
            gettext("the household"),
            proposals,
            ngettext("%(n)s proposal", "%(n)s proposals", proposals) % {"n": proposals},
            address("proposals", show="open"),
        ),
        *(
            Waiting(
                str(wait.words),
                str(wait.whom),
                plans[key],
                ngettext("%(n)s plan", "%(n)s plans", plans[key]) % {"n": plans[key]},
                address("planned", waits=key),
            )
            for key, wait in WAITS.items()
        ),
        _hubs(gettext("Hubs offline"), gettext("people at home"), counts.offline, "offline"),
    ]
    return [line for line in lines if line.count]


def _hubs(what: str, whom: str, n: int, show: str) -> Waiting:
    return Waiting(what, whom, n, hubs_words(n), address("hubs", show=show))
