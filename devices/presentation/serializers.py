"""Hubs and installs as values for programs: one shape for the JSON API, the terminal's `--json` and
Home Assistant's attributes.

Names follow the cloud's own (`node_id`, `fw_version`, `ota_job_id`, `file_size`, `file_md5`,
`ota_available`). `node_id` is always the cloud's id of a hub; our own key is `id` where the hub or
the install describes itself, and `hub` where an install names its hub. Unknown values are null.
The API's OpenAPI document is generated from these classes.
"""

from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime, timedelta
from types import NoneType
from typing import Any, ClassVar, Self, get_args

from django.conf import settings
from django.db.models import Model
from django.urls import reverse

from devices.explanations.explain import Explanation, explain_job, explain_report, explain_trouble
from devices.models import (
    CloudAccount,
    DropReason,
    Node,
    Offer,
    OtaJob,
    Plan,
    PlanState,
    Report,
    State,
    When,
)
from devices.models.attention import Attention
from devices.presentation.badges import of_job
from devices.presentation.install_story import Witness, witnesses_of
from devices.presentation.plan_text import long


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """What all have in common: the docstring below a field describes it in the API's document."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {
        "use_attribute_docstrings": True,
        "extra": "forbid",
    }

    @classmethod
    def read(cls, row: Model, **own: Any) -> Self:
        """Return it with these values, and the rest from the row's fields of the same name; an
        empty text becomes null where null is allowed.
        """
        for field in fields(cls):
            if field.name not in own:
                value = getattr(row, field.name)
                is_unknown = value == "" and NoneType in get_args(field.type)
                own[field.name] = None if is_unknown else value
        return cls(**own)


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferData(Data):
    """What the cloud would install, named as the cloud names it."""

    ota_job_id: str
    fw_version: str
    description: str | None
    file_size: int | None
    """In bytes."""
    file_md5: str | None
    first_seen_at: datetime

    @classmethod
    def of(cls, offer: Offer) -> "OfferData":
        return cls.read(offer, file_size=offer.size_bytes, file_md5=offer.md5 or None)


@dataclass(frozen=True, slots=True, kw_only=True)
class TroubleData(Data):
    """Why the last check of a hub brought no answer."""

    code: str
    headline: str
    what: str
    is_the_hub_safe: str
    what_to_do: str
    support_code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudWitness(Data):
    """What the cloud says about the install."""

    agrees: bool
    words: str
    status: str | None
    additional_info: str | None
    at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionWitness(Data):
    """Which version the hub reports."""

    agrees: bool
    words: str
    fw_version: str | None
    at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineWitness(Data):
    """Whether the hub is online again."""

    agrees: bool
    words: str
    is_online: bool | None
    back_online_at: datetime | None
    at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessesData(Data):
    """The three facts that end an install, and whether each speaks for it."""

    cloud: CloudWitness
    version: VersionWitness
    online: OnlineWitness

    @classmethod
    def of(cls, job: OtaJob) -> "WitnessesData":
        cloud, version, online = (_witness(one) for one in witnesses_of(job))
        return cls(
            cloud=CloudWitness(
                **cloud,
                status=job.cloud_word or None,
                additional_info=job.cloud_info or None,
                at=job.cloud_said_at,
            ),
            version=VersionWitness(
                **version,
                fw_version=job.version_seen or None,
                at=job.version_agreed_at or job.version_seen_at,
            ),
            online=OnlineWitness(
                **online,
                is_online=job.is_online,
                back_online_at=job.back_online_at,
                at=job.online_seen_at,
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallData(Data):
    """One install: its state, what to say about it, and its three witnesses."""

    id: int
    hub: int
    """Our own key of the hub."""
    hub_name: str
    node_id: str
    """The hub as its cloud names it."""
    household: str
    is_simulated: bool
    """The hub is a simulated one, for trying things out."""
    ota_job_id: str
    from_version: str | None
    to_version: str
    state: State
    outcome: str | None
    is_over: bool
    is_verified: bool
    percent: int | None
    """What the hub itself reported last, from 0 to 100; never estimated."""
    badge: str
    headline: str
    what: str
    is_the_hub_safe: str
    what_to_do: str
    support_code: str
    witnesses: WitnessesData
    requested_by: str
    requested_via: str
    requested_at: datetime
    pushes: int
    """How often it was sent to the cloud."""
    pushed_at: datetime | None
    ended_at: datetime | None
    seen_at: datetime | None
    """When a person marked its end as seen: no person has to look any more."""
    duration_s: float | None
    page: str

    @classmethod
    def of(cls, job: OtaJob, node: Node | None = None) -> "InstallData":
        """Read what `for_list` fetched; pass the hub where it is at hand, to save its queries."""
        node = node or job.node
        duration = job.duration
        return cls.read(
            job,
            hub=node.pk,
            node_id=job.cloud_node_id,
            household=node.account.household.name,
            is_simulated=node.account.is_simulated,
            state=State(job.state),
            is_over=not job.is_live,
            is_verified=job.state == State.VERIFIED,
            badge=of_job(job).words,
            **_explained(explain_job(job)),
            witnesses=WitnessesData.of(job),
            requested_by=job.requested_by_name,
            duration_s=round(duration.total_seconds(), 3) if duration is not None else None,
            page=page_of("install", job.pk),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanData(Data):
    """An install that starts later: what was agreed to, when it may start, what it waits for."""

    id: int
    hub: int
    """Our own key of the hub."""
    hub_name: str
    node_id: str
    """The hub as its cloud names it."""
    household: str
    is_simulated: bool
    """The hub is a simulated one, for trying things out."""
    ota_job_id: str
    from_version: str | None
    to_version: str
    when: When
    """The moment that was chosen."""
    starts: str
    """The same in words."""
    window_start: str | None
    """From this time of day on the household's clock; null: at any time."""
    window_end: str | None
    """Until this time of day, on the next day when it is the earlier time."""
    not_before: datetime
    expires_at: datetime
    state: PlanState
    drop_reason: DropReason | None
    """Why it can never start as it was agreed."""
    waits_for: str | None
    """The code of the first reason why it did not start at the last look."""
    reason: str | None
    """Why it waits, or why it ended without an install."""
    tried_next_at: datetime | None
    planned_by: str
    planned_at: datetime
    install: int | None
    """The install that it started."""
    page: str

    @classmethod
    def of(cls, plan: Plan, node: Node | None = None) -> "PlanData":
        """Read what `for_list` fetched; pass the hub where it is at hand. No query of its own."""
        node, household = node or plan.node, node.account.household if node else plan.household
        return cls.read(
            plan,
            hub=plan.node_id,
            node_id=node.node_id,
            household=household.name,
            is_simulated=node.account.is_simulated,
            ota_job_id=str(plan.binding.get("ota_job_id", "")),
            when=When(plan.when),
            starts=long(plan),
            window_start=f"{plan.window_start:%H:%M}" if plan.window_start else None,
            window_end=f"{plan.window_end:%H:%M}" if plan.window_end else None,
            state=PlanState(plan.state),
            drop_reason=DropReason(plan.drop_reason) if plan.drop_reason else None,
            reason=plan.reason.english or None,
            tried_next_at=plan.next_look_at,
            planned_by=plan.requested_by_name,
            planned_at=plan.requested_at,
            install=plan.job_id,
            page=f"{settings.PUBLIC_URL}{reverse('planned')}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HubData(Data):
    """One hub: what is known of it, and what it is offered."""

    id: int
    node_id: str
    """The hub as its cloud names it."""
    name: str
    household: str
    model: str | None
    serial: str | None
    is_simulated: bool
    """The hub is a simulated one, for trying things out."""
    fw_version: str | None
    """The version that the hub reports."""
    ota_available: bool
    """Is another version offered than the hub runs?"""
    available_version: str | None
    """The version that is offered; the next two describe it too."""
    description: str | None
    file_size: int | None
    """In bytes."""
    is_step_back: bool
    """Is the version that is offered older than the one the hub runs?"""
    attention: str
    """What the hub needs, as the list of hubs counts it: trouble, signed_out, running, new,
    waiting, older, planned, stored, dismissed or none."""
    needs_attention: bool
    """Must a person look at it?"""
    dismissed_version: str | None
    """The version that is offered but not wanted: `ota_available` is false for it."""
    offer: OfferData | None
    install: InstallData | None
    """The newest install from here."""
    plan: PlanData | None
    """The install that starts later, when one is planned."""
    is_online: bool | None
    is_in_use: bool
    repellent: str | None
    refill_life_percent: float | None
    rssi_dbm: int | None
    """The strength of its Wi-Fi signal."""
    checked_at: datetime | None
    trouble: TroubleData | None
    page: str

    @classmethod
    def of(cls, node: Node) -> "HubData":
        """Read what `for_list` fetched. No query of its own then."""
        dismissed = node.dismissed_offer
        new_offer, job, attention = node.new_offer, node.latest_job, Attention(node.attention)
        plan = node.plan
        offer = OfferData.of(new_offer) if new_offer is not None else None
        return cls.read(
            node,
            name=str(node),
            household=node.account.household.name,
            is_simulated=node.account.is_simulated,
            ota_available=offer is not None,
            available_version=offer.fw_version if offer is not None else None,
            description=offer.description if offer is not None else None,
            file_size=offer.file_size if offer is not None else None,
            is_step_back=new_offer is not None and new_offer.is_older_than(node.fw_version),
            attention=attention.name.lower(),
            needs_attention=attention.needs_person,
            dismissed_version=dismissed.fw_version if dismissed is not None else None,
            offer=offer,
            install=InstallData.of(job, node) if job is not None else None,
            plan=PlanData.of(plan, node) if plan is not None else None,
            trouble=_trouble(node) if node.check_trouble else None,
            page=page_of("hub", node.pk),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportData(Data):
    """One report of the cloud about an install, verbatim, and what it means."""

    sequence: int
    status: str
    additional_info: str
    percent: int | None
    title: str
    at: datetime
    cloud_at: datetime | None

    @classmethod
    def of(cls, report: Report) -> "ReportData":
        return cls.read(
            report,
            status=report.word,
            additional_info=report.info,
            title=explain_report(report.word, report.info).title,
            at=report.heard_at,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountData(Data):
    """A cloud account; never its tokens."""

    id: int
    email: str
    cloud: str
    household: str
    state: str
    hubs: int
    answered_at: datetime | None
    trouble: str | None

    @classmethod
    def of(cls, account: CloudAccount, hubs: int) -> "AccountData":
        return cls.read(
            account,
            cloud=account.base_url,
            household=account.household.name,
            hubs=hubs,
            trouble=account.any_trouble or None,
        )


def values_of(data: Any) -> dict[str, Any]:
    """Return the fields of one of these classes, nested ones too, for `json.dumps`."""
    return asdict(data)


def json_value(value: object) -> object:
    """Return what JSON has no type for, as every interface writes it: times as ISO 8601 in UTC,
    lengths of time as seconds.
    """
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds")
    if isinstance(value, timedelta):
        return round(value.total_seconds(), 3)
    return str(value)


def page_of(name: str, pk: int) -> str:
    """Return the absolute address of the page about one hub or install."""
    return f"{settings.PUBLIC_URL}{reverse(name, args=[pk])}"


def _witness(witness: Witness) -> dict[str, Any]:
    return {"agrees": witness.tone == "agrees", "words": witness.words}


def _trouble(node: Node) -> TroubleData:
    explanation = explain_trouble(node.check_trouble, node.check_trouble_text)
    return TroubleData(code=node.check_trouble, **_explained(explanation))


def _explained(explanation: Explanation) -> dict[str, str]:
    return {
        "headline": explanation.headline,
        "what": explanation.what,
        "is_the_hub_safe": explanation.is_safe,
        "what_to_do": explanation.todo,
        "support_code": explanation.code,
    }
