"""The sentence about how installs of one model and version went here."""

from django.utils.translation import gettext, ngettext

from devices.installs.statistics import Typical
from devices.presentation.formatting import roughly


def usual_duration(typical: Typical) -> str:
    """Return how many were verified and how long they took; "" when there was none."""
    known = {
        "verified": typical.verified,
        "all": typical.count,
        "usual": roughly(typical.typical),
        "slowest": roughly(typical.slowest),
    }
    if typical.typical and typical.verified > 1:
        sentence = gettext(
            "Usually takes %(usual)s (%(verified)s of %(all)s earlier installs verified); the "
            "slowest took %(slowest)s."
        )
    elif typical.typical:
        sentence = ngettext(
            "The only earlier install of this version was verified; it took %(usual)s.",
            "One of %(all)s earlier installs of this version was verified; it took %(usual)s.",
            typical.count,
        )
    elif typical.verified:
        sentence = ngettext(
            "%(verified)s of %(all)s earlier installs of this version was verified.",
            "%(verified)s of %(all)s earlier installs of this version were verified.",
            typical.verified,
        )
    elif typical.count == 1:
        sentence = gettext("The only earlier install of this version was not verified.")
    elif typical.count:
        sentence = gettext("None of the %(all)s earlier installs of this version was verified.")
    else:
        sentence = ""
    return sentence % known
