"""The list of hubs: searched, filtered, and those that need a person first."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from devices.fleet.versions import record_version
from devices.models import Role
from tests.support.factories import make_node, make_offer
from tests.support.pages import Home

pytestmark = pytest.mark.django_db


def test_hubs_that_need_attention_come_first(home: Home, enter: Any) -> None:
    text = enter(home.people[Role.OWNER]).get("/").content.decode()
    order = sorted(
        ("Back porch", "Fire pit", "Vegetable beds", "Front door"),
        key=lambda name: text.index(f">{name}</a>"),
    )
    assert order == ["Back porch", "Fire pit", "Vegetable beds", "Front door"]
    assert "Success reported, hub still reports 5.3.2" in text
    assert (
        "One of four hubs has new firmware available, one is installing, and one needs attention."
        in text
    )


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("show=new", {"Vegetable beds"}),
        ("show=running", {"Fire pit"}),
        ("show=attention", {"Back porch"}),
        ("show=offline", set()),
        ("q=door", {"Front door"}),
        ("q=5.3.3", {"Front door", "Vegetable beds"}),
        ("sort=name&show=nonsense&page=zzz", None),
    ],
)
def test_hubs_are_found_and_filtered(
    home: Home, enter: Any, query: str, names: set[str] | None
) -> None:
    text = enter(home.people[Role.OWNER]).get(f"/?{query}").content.decode()
    every = {"Back porch", "Fire pit", "Vegetable beds", "Front door"}
    assert {name for name in every if f">{name}</a>" in text} == (every if names is None else names)


def listed(client: Any, query: str) -> set[str]:
    """Return the names of the hubs that are listed."""
    return {str(row.node) for row in client.get(f"/?{query}").context["rows"]}


def test_hubs_are_found_by_a_version_in_every_spelling_and_by_none_of_some(
    home: Home, enter: Any
) -> None:
    for node, version in ((home.plain, "v5.4"), (home.busy, "5.4.0"), (home.new, "5.4.0+b7")):
        node.touch(timezone.now(), fw_version=version)
    unknown = make_node(home.account, name="Silent", fw_version="", model="")
    client = enter(home.people[Role.OWNER])
    assert listed(client, "version=5.4.0.0") == {"Front door", "Fire pit"}
    assert listed(client, "version=5.4.0%2Bb7") == {"Vegetable beds"}
    assert listed(client, "but=5.4|5.4.0%2Bb7") == {"Back porch"}
    assert listed(client, "version=%3F") == listed(client, "model=%3F") == {unknown.name}
    assert listed(client, "simulated=0") == set()
    assert len(listed(client, "simulated=1")) == 5
    assert len(listed(client, "simulated=nonsense&week=nonsense")) == 5


def test_hubs_are_found_by_what_they_ran_at_the_end_of_a_week(home: Home, enter: Any) -> None:
    now = timezone.now()
    home.plain.touch(now, fw_version="")
    for weeks, version in ((3, "5.2.0"), (1, "5.4.0")):
        home.plain.refresh_from_db()
        record_version(home.plain, version, now - timedelta(weeks=weeks))
    client = enter(home.people[Role.OWNER])
    with timezone.override(home.household.zone):
        today = timezone.localdate()
    monday = [today - timedelta(days=today.weekday(), weeks=back) for back in range(6)]
    assert listed(client, f"version=5.4.0&week={monday[0]}") == {"Front door"}
    assert listed(client, f"version=5.4.0&week={monday[1]}") == {"Front door"}
    assert listed(client, f"version=5.2.0&week={monday[2]}") == {"Front door"}
    assert listed(client, f"version=5.4.0&week={monday[2]}") == set()
    assert "Front door" not in listed(client, f"week={monday[4]}"), "nothing was known of it"
    assert len(listed(client, f"week={monday[0]}")) == 4
    text = client.get(f"/?version=5.2.0&week={monday[2]}").content.decode()
    assert "at the end of the week of" in text


@pytest.fixture
def models(home: Home) -> Home:
    """Hubs of two models: two are offered something, one of each model."""
    home.plain.touch(timezone.now(), model="lantern")
    lantern = make_node(home.account, name="Lantern by the lake", model="lantern")
    make_offer(lantern)
    return home


def hits(client: Any, query: str) -> tuple[dict[str, int], dict[str, int]]:
    """Return how many hubs each chip and each model of the list has."""
    answer = client.get(f"/?{query}")
    chips = {str(words): n for _, words, n in answer.context["shows"]}
    return chips, dict(answer.context["models"])


def test_each_model_says_how_many_hubs_the_other_filters_match(models: Home, enter: Any) -> None:
    client = enter(models.people[Role.OWNER])
    chips, of_model = hits(client, "")
    assert (chips["All"], of_model) == (5, {"lantern": 2, "thermacell-hub": 3})
    chips, of_model = hits(client, "show=new")
    assert of_model == {"lantern": 1, "thermacell-hub": 1}
    chips, of_model = hits(client, "q=lake")
    assert (chips["All"], of_model) == (1, {})
    chips, of_model = hits(client, "model=lantern")
    assert (chips["All"], chips["New firmware"], chips["Running"]) == (2, 1, 0)
    assert of_model == {"lantern": 2, "thermacell-hub": 3}, "the way to the other model stays"
    chips, of_model = hits(client, "model=lantern&q=porch")
    assert (chips["All"], of_model) == (0, {"thermacell-hub": 1})


def test_hubs_of_a_model_are_listed_and_the_filter_is_kept_everywhere(
    models: Home, enter: Any
) -> None:
    client = enter(models.people[Role.OWNER])
    text = client.get("/?model=lantern&show=new&sort=name").content.decode()
    assert ">Lantern by the lake</a>" in text
    assert ">Front door</a>" not in text
    assert ">Vegetable beds</a>" not in text
    query = "sort=name&amp;show=new&amp;model=lantern"
    assert f'href="/hubs/export.csv?{query}"' in text
    assert f'href="/hubs/export.jsonl?{query}"' in text
    other = re.search(r'id="chip-running"\s+href="([^"]*)"', text)
    assert other is None, "no hub of this model runs an install"
    everything = re.search(r'id="chip-"\s+href="([^"]*)"', text)
    assert everything is not None
    assert "model=lantern" in everything[1], "another chip keeps the model"
    assert "model lantern" in text
    chip = re.search(r'id="chip-model"\s+aria-current="true"\s+href="([^"]*)"', text)
    assert chip is not None
    assert "model" not in chip[1], "its own chip takes it away"
    whole = client.get("/hubs/live/?model=lantern&v=x").content.decode()
    assert "Vegetable beds" not in whole


def test_one_model_alone_is_no_choice(home: Home, enter: Any) -> None:
    assert 'name="model"' not in enter(home.people[Role.OWNER]).get("/").content.decode()


def test_the_tab_says_how_many_need_attention(home: Home, enter: Any) -> None:
    text = enter(home.people[Role.OWNER]).get("/").content.decode()
    assert "<title>(1) Hubs · Thermacell Web</title>" in text
    assert 'data-tab-needs="1"' in text


@pytest.mark.parametrize("search", ["N03HA777", "renamed", "NewId"])
def test_history_is_found_by_serial_number_and_by_the_name_of_today(
    home: Home, enter: Any, search: str
) -> None:
    home.broken.touch(timezone.now(), serial="N03HA777", name="Renamed hub", node_id="NewIdOfIt")
    text = enter(home.people[Role.OWNER]).get(f"/history/?q={search}").content.decode()
    assert f"/installs/{home.job.pk}/" in text
    assert f"/installs/{home.running.pk}/" not in text
