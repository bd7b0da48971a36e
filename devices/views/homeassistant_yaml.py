"""What to paste into Home Assistant's configuration when there is no MQTT."""

import json

from django.conf import settings
from django.template.loader import render_to_string
from django.urls import reverse

from devices.households.setup_link import stays_here
from devices.models.node import NodeQuerySet
from devices.models.text import one_line

# Each hub is asked about once a minute, and a token may ask 120 times.
MOST_HUBS = 60
SECRETS = 'thermacell_web: "Bearer twh_…"'


def configuration(nodes: NodeQuerySet) -> str:
    """Return YAML for configuration.yaml: two sensors a hub, and a script that installs what they
    show. It holds addresses and numbers; names appear only in comments, on one line. Two queries.
    """
    hubs = [
        {
            "pk": node.pk,
            "name": one_line(str(node), 80),
            "address": json.dumps(settings.PUBLIC_URL + reverse("api_hub", args=[node.pk])),
        }
        for node in nodes[:MOST_HUBS]
    ]
    values = {
        "hubs": hubs,
        "left_out": left_out(nodes),
        "secrets": SECRETS,
        "url": settings.PUBLIC_URL,
        "links_stay_here": stays_here(settings.PUBLIC_URL),
        "installs": json.dumps(settings.PUBLIC_URL + reverse("api_installs")),
    }
    return render_to_string("devices/home_assistant/configuration.yaml", values)


def left_out(nodes: NodeQuerySet) -> int:
    """Return how many hubs are not in the YAML. One query."""
    return max(0, nodes.count() - MOST_HUBS)
