"""The Overview: what waits on whom, what the hubs run and ran, how installs went, who is offline.

Every chart is drawn by the server, each of its parts links to the list it counts, and its numbers
stand beside it as a table. It can be printed.
"""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from devices.fleet.attention import count, hubs_of
from devices.presentation import headlines
from devices.presentation.adoption_chart import adoption_of, results_of
from devices.presentation.badges import VERDICT_SHOWS
from devices.presentation.charts import (
    COLUMN_STEP,
    KINDS,
    WEEKS,
    away_of,
    simulated_installs_of,
    simulated_of,
    standing_of,
    versions_of,
    weeks_of,
)
from devices.presentation.waiting import waiting_of
from devices.request_scope import scope_of
from devices.views.access import current_user, login_required_here


@require_safe
@login_required_here
def overview(request: HttpRequest) -> HttpResponse:
    """The charts over every hub and install this person may see. At most fifteen queries of its
    own.
    """
    user, within, now = current_user(request), scope_of(request).household_id, timezone.now()
    weeks, hubs = weeks_of(user, now, within), count(hubs_of(user, within))
    values = {
        "headline": headlines.of_weeks(weeks),
        "versions": versions_of(user, within),
        "hubs": standing_of(hubs),
        "weeks": weeks,
        "weeks_width": WEEKS * COLUMN_STEP,
        "kinds": [(key, VERDICT_SHOWS[key][0]) for key in KINDS],
        "waiting": waiting_of(user, hubs, now, within),
        "adoption": adoption_of(user, now, within),
        "results": results_of(user, within),
        "away": away_of(user, now, within),
        "simulated": simulated_of(user, within),
        "simulated_installs": simulated_installs_of(user, now, within),
    }
    return render(request, "devices/overview/overview.html", values)
