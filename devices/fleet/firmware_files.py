"""Firmware files: a person requests one, the worker downloads it, the archive keeps it.

Each download asks for a new link, since links expire. The file is streamed to a draft and moved
into the archive only when its size and MD5 match the cloud's values. Without a valid MD5 (missing,
or not hexadecimal) a file is never called verified.
"""

import hashlib
import os
import uuid
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from time import monotonic

from django.conf import settings
from django.db import IntegrityError
from django.db.models import Max

from devices.accounts.allowed_clouds import is_allowed
from devices.accounts.failures import record_failure
from devices.audit import log as audit_log
from devices.explanations.error_codes import error_code
from devices.models import Actor, AuditAction, FetchState, Image, ImageFetch, Node, Offer, Outcome
from devices.models.firmware_file import is_verifiable
from devices.models.message import NO_MESSAGE, Message, MessageCode
from devices.rainmaker.client import RainmakerClient
from devices.rainmaker.download import Image as Fetched
from devices.rainmaker.download import LinkExpired, TooLarge, fetch_image
from devices.rainmaker.errors import CloudError, OfferGone, TryLater
from devices.rainmaker.schemas import FirmwareOffer
from devices.taskqueue.wakeups import wake_sync

MOST_TRIES = 3
TRY_AGAIN = timedelta(minutes=1)
# A loop's task lives three minutes at most; one that has begun must end within it.
TOTAL_S = 60.0
LEFTOVER_S = 3600
FILE_SERVER = "GET firmware image"


@dataclass(frozen=True, slots=True)
class Arrived:
    """A complete download that is not checked yet."""

    path: Path
    image: Fetched


def archive() -> Path:
    """Return the archive's folder; only this server's user can read it."""
    folder = Path(settings.DATA_DIR) / "firmware"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def path_of(image: Image) -> Path:
    """Return where the file is kept: always in the archive."""
    return archive() / Path(f"{image.sha256}.bin").name


def ask(node: Node, offer: Offer, *, actor: Actor, now: datetime) -> ImageFetch:
    """Return the request for the offer's file: the one that is waiting, or a new one."""
    waiting = ImageFetch.objects.filter(offer=offer, state=FetchState.WAITING)
    try:
        with audit_log.locked():
            found = waiting.first()
            if found is not None:
                return found
            fetch = ImageFetch.objects.create(
                node=node,
                offer=offer,
                cloud_host=node.account.cloud_host,
                hub_model=node.model,
                ota_job_id=offer.ota_job_id,
                fw_version=offer.fw_version,
                size_bytes=offer.size_bytes,
                md5=offer.md5,
                asked_by_name=actor.name[:254],
                asked_at=now,
                next_try_at=now,
            )
            node.touch(now)
            audit_log.record(
                actor,
                AuditAction.IMAGE_ASKED,
                f"The file of {offer.fw_version} for {node} was asked for.",
                node=node,
                at=now,
                detail={"ota_job_id": offer.ota_job_id, "fw_version": offer.fw_version},
            )
            wake_sync()
    except IntegrityError:
        return waiting.get()
    return fetch


def fetch(client: RainmakerClient, wish: ImageFetch) -> Arrived:
    """Ask for a new link and return the downloaded file; an expired link is renewed once.

    Raises CloudError; then nothing is left on the disk.
    """
    until = monotonic() + TOTAL_S
    try:
        return _fetch_once(_fresh_link(client, wish), wish, until - monotonic())
    except LinkExpired:
        return _fetch_once(_fresh_link(client, wish), wish, until - monotonic())


def _fresh_link(client: RainmakerClient, wish: ImageFetch) -> str:
    offer: FirmwareOffer = client.check_firmware_update(wish.node.node_id)
    is_same = (offer.ota_job_id, offer.fw_version) == (wish.ota_job_id, wish.fw_version)
    if not offer.is_available or not is_same:
        raise _gone(MessageCode.FILE_NOT_OFFERED)
    if (offer.size_bytes, offer.md5[:64]) != (wish.size_bytes, wish.md5):
        raise _gone(MessageCode.FILE_OTHER_NOW)
    if not offer.url:
        raise _gone(MessageCode.FILE_NO_LINK)
    return offer.url


def _gone(why: MessageCode) -> OfferGone:
    return OfferGone(Message.of(why).english, endpoint=FILE_SERVER, message_code=why.value)


def _message(problem: CloudError) -> Message:
    """Return the text that people see for a failure."""
    if problem.message_code:
        return Message.of(MessageCode(problem.message_code), **problem.values)
    return Message.of(MessageCode.FILE_NOT_ASKED, trouble=error_code(problem).value)


def _fetch_once(url: str, wish: ImageFetch, limit_s: float) -> Arrived:
    account = wish.node.account
    cap = settings.FIRMWARE_FILE_BYTES
    draft = archive() / f"incoming-{uuid.uuid4().hex}.part"
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as sink:
            image = fetch_image(
                url,
                sink,
                max_bytes=min(cap, wish.size_bytes) if wish.size_bytes else cap,
                may_be_here=account.is_simulated and is_allowed(account.base_url),
                total_timeout_s=max(limit_s, 1.0),
            )
            sink.flush()
            os.fsync(sink.fileno())
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return Arrived(draft, image)


def arrived(wish: ImageFetch, file: Arrived, now: datetime) -> None:
    """Compare the file with the cloud's size and MD5; keep it, or refuse and delete it."""
    problem = _mismatch(wish, file.image)
    try:
        with audit_log.locked():
            if not ImageFetch.objects.filter(pk=wish.pk, state=FetchState.WAITING).exists():
                return
            if problem:
                _end(wish, FetchState.REFUSED, problem, now, file.image)
                return
            verified = is_verifiable(wish.md5) and wish.size_bytes is not None
            os.replace(file.path, archive() / f"{file.image.sha256}.bin")
            wish.image, _ = Image.objects.update_or_create(
                sha256=file.image.sha256,
                defaults={
                    "md5": file.image.md5,
                    "size_bytes": file.image.size_bytes,
                    "kept_at": now,
                    "dropped_at": None,
                },
            )
            _end(
                wish,
                FetchState.VERIFIED if verified else FetchState.UNVERIFIED,
                NO_MESSAGE if verified else Message.of(_why_unverified(wish)),
                now,
                file.image,
            )
        drop_oldest(now)
    finally:
        file.path.unlink(missing_ok=True)


def not_arrived(wish: ImageFetch, problem: CloudError, now: datetime) -> None:
    """Record why the download failed; retry what may pass."""
    is_file_server = problem.endpoint == FILE_SERVER
    if not is_file_server and record_failure(wish.node.account, problem, now, hub=wish.node):
        ImageFetch.objects.filter(pk=wish.pk).update(next_try_at=now + TRY_AGAIN)
        return
    wish.tries += 1
    may_pass = isinstance(problem, TryLater | LinkExpired) and not isinstance(problem, TooLarge)
    with audit_log.locked():
        waiting = ImageFetch.objects.filter(pk=wish.pk, state=FetchState.WAITING)
        if may_pass and wish.tries < MOST_TRIES:
            waiting.update(
                tries=wish.tries, next_try_at=now + TRY_AGAIN * wish.tries, note=_message(problem)
            )
            wish.node.touch(now)
        elif waiting.exists():
            is_other = isinstance(problem, TooLarge)
            state = FetchState.REFUSED if is_other else FetchState.FAILED
            _end(wish, state, _message(problem), now, None, str(problem))
            if isinstance(problem, OfferGone):  # what the cloud offers instead is shown soon
                wish.node.touch(now, next_check_at=now)
                wake_sync()


def put_off(wish: ImageFetch, now: datetime) -> None:
    """Wait a while before the next try."""
    ImageFetch.objects.filter(pk=wish.pk).update(next_try_at=now + TRY_AGAIN)


def is_whole(image: Image) -> bool:
    """Is the file in the archive unchanged?"""
    try:
        with path_of(image).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == image.sha256
    except OSError:
        return False


def taken(wish: ImageFetch, *, actor: Actor) -> None:
    """Record that a person saved the file."""
    audit_log.record(
        actor,
        AuditAction.IMAGE_TAKEN,
        f"The file of {wish.fw_version} for {wish.node} was downloaded.",
        node=wish.node,
        detail={"sha256": wish.image.sha256 if wish.image else "", "state": wish.state},
    )


def drop_oldest(now: datetime) -> int:
    """Delete the files with the oldest requests until the archive fits; return how many.

    Also deletes drafts that a killed worker left behind.
    """
    for part in archive().glob("*.part"):
        with suppress(FileNotFoundError):
            if now.timestamp() - part.stat().st_mtime > LEFTOVER_S:
                part.unlink()
    kept = Image.objects.filter(dropped_at=None).annotate(asked=Max("fetches__asked_at"))
    total, dropped = 0, 0
    for image in kept.order_by("-asked", "-pk"):
        total += image.size_bytes
        if total <= settings.FIRMWARE_ARCHIVE_BYTES:
            continue
        with audit_log.locked():
            if not Image.objects.filter(pk=image.pk, dropped_at=None).update(dropped_at=now):
                continue
            audit_log.record(
                Actor.worker(),
                AuditAction.IMAGE_DROPPED,
                f"The file {image} left the archive, which was full.",
                at=now,
                detail={"sha256": image.sha256, "size_bytes": image.size_bytes},
            )
        path_of(image).unlink(missing_ok=True)
        dropped += 1
    return dropped


def _mismatch(wish: ImageFetch, image: Fetched) -> Message:
    if wish.size_bytes is not None and image.size_bytes != wish.size_bytes:
        return Message.of(MessageCode.FILE_OTHER_SIZE, bytes=image.size_bytes, said=wish.size_bytes)
    if is_verifiable(wish.md5) and image.md5 != wish.md5.strip().lower():
        return Message.of(MessageCode.FILE_OTHER_MD5, md5=image.md5, said=wish.md5.strip().lower())
    return NO_MESSAGE


def _why_unverified(wish: ImageFetch) -> MessageCode:
    if not wish.md5:
        return MessageCode.FILE_WITHOUT_MD5
    if not is_verifiable(wish.md5):
        return MessageCode.FILE_NO_MD5
    return MessageCode.FILE_WITHOUT_SIZE


def _end(
    wish: ImageFetch,
    state: FetchState,
    note: Message,
    now: datetime,
    image: Fetched | None,
    detail: str = "",
) -> None:
    words = {
        FetchState.VERIFIED: "was fetched; its size and MD5 are as the cloud says.",
        FetchState.UNVERIFIED: "was fetched; it cannot be verified.",
        FetchState.REFUSED: "was refused and deleted.",
    }.get(state, "could not be fetched.")
    wish.state, wish.note, wish.ended_at = state, note, now
    wish.save(update_fields=["state", "note", "ended_at", "image", "tries"])
    wish.node.touch(now)
    refused = Outcome.REFUSED if state == FetchState.REFUSED else Outcome.FAILED
    is_good = state in {FetchState.VERIFIED, FetchState.UNVERIFIED}
    audit_log.record(
        Actor.worker(),
        AuditAction(f"image.{state}"),
        f"The file of {wish.fw_version} for {wish.node} {words} {detail or note.english}".rstrip(),
        node=wish.node,
        outcome=Outcome.DONE if is_good else refused,
        why=f"asked for by {wish.asked_by_name}",
        at=now,
        detail={
            "ota_job_id": wish.ota_job_id,
            "fw_version": wish.fw_version,
            "cloud": wish.cloud_host,
            "hub_model": wish.hub_model,
            "said": {"size_bytes": wish.size_bytes, "md5": wish.md5},
            "found": (
                {"size_bytes": image.size_bytes, "md5": image.md5, "sha256": image.sha256}
                if image
                else {}
            ),
        },
    )
