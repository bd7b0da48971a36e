"""How a simulated world is populated."""

from __future__ import annotations

from devices.simcloud import liv
from devices.simcloud.clock import Clock
from devices.simcloud.world import Person, Setup, World
from tests.support.stage import Wall


def test_same_seed_is_the_same_world() -> None:
    one, two = (World(Setup(hubs=50, seed=7), Clock(1, Wall())) for _ in range(2))
    other = World(Setup(hubs=50, seed=8), Clock(1, Wall()))
    assert list(one.hubs) == list(two.hubs)
    assert not set(one.hubs) & set(other.hubs)
    assert {len(node) for node in one.hubs} == {22}
    assert len({hub.who.serial for hub in one.hub_list}) == 50
    at = one.clock.now()
    assert [liv.params(h, at) for h in one.hub_list] == [liv.params(h, at) for h in two.hub_list]


def test_about_two_in_five_hubs_have_an_offer_and_names_do_not_repeat() -> None:
    world = World(Setup(hubs=2000), Clock(1, Wall()))
    offers = sum(hub.offer(world.clock.now()) is not None for hub in world.hub_list)
    assert 700 < offers < 900
    assert len({hub.who.name for hub in world.hub_list}) == 2000
    away = sum(not hub.is_online(world.clock.now()) for hub in world.hub_list)
    assert 30 < away < 100


def test_hubs_are_dealt_out_as_asked() -> None:
    people = (Person("a@x.io", "pw", 3), Person("b@x.io", "pw"), Person("c@x.io", "pw"))
    world = World(Setup(hubs=10, people=people), Clock(1, Wall()))
    assert [len(account.nodes) for account in world.accounts.values()] == [3, 4, 3]
