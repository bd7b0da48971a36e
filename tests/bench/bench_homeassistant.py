"""How fast Home Assistant hears of hubs: `python -m tests.bench.bench_homeassistant [--hubs 1000]`.

A real Mosquitto, the bridge in this process, a second client that listens. Prints figures and
judges nothing.
"""

import argparse
import os
from statistics import median
from time import monotonic

import django
from django.conf import settings


def measure(hubs: int, changes: int) -> None:
    """Announce hubs, then change one after the other and wait for the word at the broker."""
    from django.utils import timezone

    from devices.homeassistant.bridge import Bridge
    from devices.models import HomeAssistantLink, Node
    from tests.support.factories import make_account, make_household
    from tests.support.mosquitto import Listener, Mosquitto

    # discovery and the states of one kind: a broker keeps only so much for a slow listener
    filters = ("homeassistant/#", "+/+/hub/+/update", "+/hub/+/update")
    with Mosquitto() as broker, Listener(broker.port, *filters) as ear:
        settings.MQTT_URL = broker.url
        account = make_account(make_household())
        Node.objects.bulk_create(
            Node(account=account, node_id=f"N{n:021}", name=f"Porch {n}", fw_version="5.3.2")
            for n in range(hubs)
        )
        bridge, began = Bridge(), monotonic()
        while len(ear.hubs()) < hubs:
            bridge.turn()
        print(f"{hubs} hubs announced in {monotonic() - began:.2f} s")
        prefix = HomeAssistantLink.objects.get().topic_prefix
        took = []
        for number, node in enumerate(Node.objects.order_by("pk")[:changes]):
            version, topic = f"6.0.{number}", f"{prefix}/hub/{node.pk}/update"
            began = monotonic()
            node.touch(timezone.now(), fw_version=version)
            while ear.read(topic)["installed_version"] != version:
                bridge.turn()
            took.append(monotonic() - began)
        print(
            f"a change of one of {hubs} hubs is at the broker after {median(took):.2f} s "
            f"(middle of {changes}), at most {max(took):.2f} s"
        )
        bridge.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hubs", type=int, default=1000)
    parser.add_argument("--changes", type=int, default=50)
    chosen = parser.parse_args()
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    django.setup()
    from django.test.runner import DiscoverRunner

    runner = DiscoverRunner(verbosity=0, interactive=False)
    kept = runner.setup_databases()
    try:
        measure(chosen.hubs, chosen.changes)
    finally:
        runner.teardown_databases(kept)


if __name__ == "__main__":
    main()
