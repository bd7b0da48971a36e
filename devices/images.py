"""Firmware files: a person asks, the worker fetches, the archive keeps what proved to be right.

A fresh link is asked for each time, since links expire. What is fetched goes to the disk piece by
piece and into the archive only when its size and MD5 are what the cloud said. An MD5 that is none
(missing, or not hexadecimal) verifies nothing, and the file is never called verified.
"""

import hashlib
import os
import re
import uuid
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from time import monotonic

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Max

from devices.accounts import account_failed
from devices.cloud.client import RainmakerClient
from devices.cloud.download import Image as Fetched
from devices.cloud.download import LinkExpired, TooLarge, fetch_image
from devices.cloud.errors import CloudError, OfferGone, TryLater
from devices.cloud.types import FirmwareOffer
from devices.clouds import is_allowed
from devices.models import Actor, FetchState, Image, ImageFetch, Node, Offer, Outcome, audit
from devices.wake import wake_chores

MOST_TRIES = 3
TRY_AGAIN = timedelta(minutes=1)
# A loop's task lives three minutes at most; one that has begun must end within it.
TOTAL_S = 60.0
LEFTOVER_S = 3600
FILE_SERVER = "GET firmware image"
_MD5 = re.compile(r"[0-9a-fA-F]{32}")


@dataclass(frozen=True, slots=True)
class Arrived:
    """A whole file that waits beside the archive to be looked at."""

    path: Path
    image: Fetched


def archive() -> Path:
    """Return the archive's folder, readable by nobody else."""
    folder = Path(settings.DATA_DIR) / "firmware"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def path_of(image: Image) -> Path:
    return archive() / f"{image.sha256}.bin"


def is_verifiable(md5: str) -> bool:
    """Is this the form of an MD5 at all?"""
    return bool(_MD5.fullmatch(md5.strip()))


def ask(node: Node, offer: Offer, *, actor: Actor, now: datetime) -> ImageFetch:
    """Ask the worker for the file of the offer; one that is being fetched already is returned."""
    waiting = ImageFetch.objects.filter(offer=offer, state=FetchState.WAITING)
    try:
        with transaction.atomic():
            audit.lock()
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
            audit.record(
                actor,
                "image.asked",
                f"The file of {offer.fw_version} for {node} was asked for.",
                node=node,
                at=now,
                detail={"ota_job_id": offer.ota_job_id, "fw_version": offer.fw_version},
            )
            wake_chores()
    except IntegrityError:
        return waiting.get()
    return fetch


def fetch(client: RainmakerClient, wish: ImageFetch) -> Arrived:
    """Ask for a fresh link and fetch the file; a link that expired is asked for once more.

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
        raise OfferGone("The cloud no longer offers this file.", endpoint=FILE_SERVER)
    if (offer.size_bytes, offer.md5[:64]) != (wish.size_bytes, wish.md5):
        raise OfferGone("The cloud now names another size or MD5.", endpoint=FILE_SERVER)
    if not offer.url:
        raise OfferGone("The cloud no longer gives a link to the file.", endpoint=FILE_SERVER)
    return offer.url


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
    """Compare the file with what the cloud said; keep it, or refuse and delete it."""
    problem = _mismatch(wish, file.image)
    try:
        with transaction.atomic():
            audit.lock()
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
                "" if verified else _why_unverified(wish),
                now,
                file.image,
            )
        drop_oldest(now)
    finally:
        file.path.unlink(missing_ok=True)


def not_arrived(wish: ImageFetch, problem: CloudError, now: datetime) -> None:
    """Record why the file did not come; what may pass is tried again."""
    is_file_server = problem.endpoint == FILE_SERVER
    if not is_file_server and account_failed(wish.node.account, problem, now):
        ImageFetch.objects.filter(pk=wish.pk).update(next_try_at=now + TRY_AGAIN)
        return
    wish.tries += 1
    may_pass = isinstance(problem, TryLater | LinkExpired) and not isinstance(problem, TooLarge)
    with transaction.atomic():
        audit.lock()
        waiting = ImageFetch.objects.filter(pk=wish.pk, state=FetchState.WAITING)
        if may_pass and wish.tries < MOST_TRIES:
            waiting.update(
                tries=wish.tries, next_try_at=now + TRY_AGAIN * wish.tries, note=str(problem)[:300]
            )
            wish.node.touch(now)
        elif waiting.exists():
            is_other = isinstance(problem, TooLarge)
            state = FetchState.REFUSED if is_other else FetchState.FAILED
            _end(wish, state, str(problem), now, None)


def put_off(wish: ImageFetch, now: datetime) -> None:
    """Wait a while before the next try."""
    ImageFetch.objects.filter(pk=wish.pk).update(next_try_at=now + TRY_AGAIN)


def is_whole(image: Image) -> bool:
    """Is the file in the archive still the one that was put there?"""
    try:
        with path_of(image).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == image.sha256
    except OSError:
        return False


def taken(wish: ImageFetch, *, actor: Actor) -> None:
    """Record that a person takes the file."""
    audit.record(
        actor,
        "image.taken",
        f"The file of {wish.fw_version} for {wish.node} was downloaded.",
        node=wish.node,
        detail={"sha256": wish.image.sha256 if wish.image else "", "state": wish.state},
    )


def drop_oldest(now: datetime) -> int:
    """Let the files go that nobody asked for longest, until the archive fits; return how many.

    What a killed worker left half fetched goes too.
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
        with transaction.atomic():
            audit.lock()
            if not Image.objects.filter(pk=image.pk, dropped_at=None).update(dropped_at=now):
                continue
            audit.record(
                Actor.worker(),
                "image.dropped",
                f"The file {image} left the archive, which was full.",
                at=now,
                detail={"sha256": image.sha256, "size_bytes": image.size_bytes},
            )
        path_of(image).unlink(missing_ok=True)
        dropped += 1
    return dropped


def _mismatch(wish: ImageFetch, image: Fetched) -> str:
    if wish.size_bytes is not None and image.size_bytes != wish.size_bytes:
        return f"The file has {image.size_bytes} bytes; the cloud says {wish.size_bytes}."
    if is_verifiable(wish.md5) and image.md5 != wish.md5.strip().lower():
        return f"The file's MD5 is {image.md5}; the cloud says {wish.md5.strip().lower()}."
    return ""


def _why_unverified(wish: ImageFetch) -> str:
    if not wish.md5:
        return "The cloud gives no MD5 for it."
    if not is_verifiable(wish.md5):
        return "What the cloud gives as its MD5 is none: it is not hexadecimal."
    return "The cloud gives no size for it."


def _end(
    wish: ImageFetch, state: FetchState, note: str, now: datetime, image: Fetched | None
) -> None:
    words = {
        FetchState.VERIFIED: "was fetched; its size and MD5 are as the cloud says.",
        FetchState.UNVERIFIED: "was fetched; it cannot be verified.",
        FetchState.REFUSED: "was refused and deleted.",
    }.get(state, "could not be fetched.")
    wish.state, wish.note, wish.ended_at = state, note[:300], now
    wish.save(update_fields=["state", "note", "ended_at", "image", "tries"])
    wish.node.touch(now)
    refused = Outcome.REFUSED if state == FetchState.REFUSED else Outcome.FAILED
    is_good = state in {FetchState.VERIFIED, FetchState.UNVERIFIED}
    audit.record(
        Actor.worker(),
        f"image.{state.value}",
        f"The file of {wish.fw_version} for {wish.node} {words} {note}".rstrip(),
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
