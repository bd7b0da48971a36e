"""OTA jobs as the cloud keeps them for one node, and the default releases hubs are offered.

The offered job is the one with the highest priority (1 is best, 5 the default), then the newest
(ESP RainMaker API 3.8.0). A job the node reported `success` or `rejected` for is not offered to it
again; that last point is inferred from the API's rules for a whole job. Unverified.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from devices.simcloud.names import Identity, short_id

NEXT_VERSION = {"5.3.2": "5.3.3", "5.4.1": "5.4.7", "5.3.3": "5.4.7"}
FILE_SIZES = {"5.3.3": 1_482_752, "5.4.7": 1_611_344}
NICE_DESCRIPTION = (
    "Repellers warm up about a minute sooner, the refill estimate follows cool evenings, and a "
    "hub that loses Wi-Fi finds its way back without a restart."
)
PLAIN_DESCRIPTION = "Bug fixes and stability improvements"


@dataclass(slots=True)
class Job:
    """One firmware offered to one node. Times are virtual seconds."""

    job_id: str
    fw_version: str
    published_at: float
    description: str = PLAIN_DESCRIPTION
    file_size: int = 1_482_752
    url: str = ""
    file_md5: str = ""
    stream_id: str = ""
    priority: int = 5
    metadata: dict[str, Any] = field(default_factory=dict)
    withdrawn: bool = False
    # Lets users fetch the image; each check makes a new link.
    image_access: bool = False

    def as_offer(self) -> dict[str, Any]:
        """The fields of the update check's answer; the optional ones only when set."""
        offer: dict[str, Any] = {
            "description": self.description,
            "fw_version": self.fw_version,
            "ota_job_id": self.job_id,
            "file_size": self.file_size,
        }
        optional = {
            "url": self.url,
            "file_md5": self.file_md5,
            "stream_id": self.stream_id,
            "metadata": self.metadata,
        }
        return offer | {key: value for key, value in optional.items() if value}


def default_job(who: Identity, share: float, at: float) -> Job | None:
    """The job a hub is offered when the world begins, or None: about `share` of hubs have one.

    The first hubs show the shapes an offer comes in: 0 a description worth reading, 1 with URL and
    MD5, 2 with an MD5 that is not hexadecimal (as API examples in circulation have it), 3 none at
    all, 4 an offer on a hub that is not connected.
    """
    if share <= 0:
        return None
    special = who.index if share < 1 else -1
    offered = special in (0, 1, 2, 4) or (special != 3 and who.unit("offer") < share)
    if not offered:
        return None
    new = NEXT_VERSION[who.fw_version]
    job = Job(
        job_id=short_id("job", who.seed, new, special if 0 <= special <= 2 else ""),
        fw_version=new,
        published_at=at - 86400 * 3,
        file_size=FILE_SIZES[new],
    )
    if who.index == 0:
        job.description = NICE_DESCRIPTION
    elif who.index == 1:
        job.image_access = True
    elif who.index == 2:
        job.job_id, job.file_size = "OTA_JOB_12345", 245_760
        job.description = "New firmware version with bug fixes"
        job.image_access, job.file_md5 = True, "a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5p6"
    return job
