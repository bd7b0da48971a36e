"""Named views of the list: a person's own, and what staff share."""

from typing import Any

import pytest

from devices.models import SavedView, StaffRole, User
from devices.models.saved_view import MOST_VIEWS
from tests.support.client import Client
from tests.support.factories import make_account, make_household, make_node, make_owner, make_user
from tests.support.factories import sign_in as enter

pytestmark = pytest.mark.django_db


@pytest.fixture
def owner() -> User:
    household = make_household()
    make_node(make_account(household), fw_version="5.1")
    return make_owner(household)


def save(user: User, name: str, page: str, **fields: Any) -> str:
    """Save a view from this page of the list; return the page that follows."""
    client = enter(Client(), user)
    referer = {"referer": f"http://testserver{page}"}
    answer = client.post("/hubs/views/", {"name": name, **fields}, headers=referer, follow=True)
    return answer.content.decode()


def test_a_view_holds_filters_and_order_and_leads_back_to_them(owner: User) -> None:
    text = save(owner, "Old ones", "/?version=5.1&sort=-name&page=3&show=nonsense&v=1")
    assert "Saved as “Old ones”." in text
    assert 'href="/?sort=-name&amp;version=5.1"' in text
    assert SavedView.objects.get().query == "sort=-name&version=5.1"


def test_a_view_holds_the_model_and_exactly_what_was_filtered(owner: User) -> None:
    text = save(owner, "Lanterns", "/?model=lantern&sort=name&show=new")
    assert SavedView.objects.get().query == "sort=name&show=new&model=lantern"
    assert 'href="/?sort=name&amp;show=new&amp;model=lantern"' in text


def test_the_same_name_takes_the_place_of_the_earlier_view(owner: User) -> None:
    save(owner, "Mine", "/?version=5.1")
    save(owner, "Mine", "/?version=5.2")
    assert SavedView.objects.get().query == "sort=&version=5.2"


def test_from_another_page_or_site_it_is_the_whole_list(owner: User) -> None:
    save(owner, "History", "/history/?q=porch")
    client = enter(Client(), owner)
    headers = {"referer": "https://elsewhere.example/?version=5.1"}
    client.post("/hubs/views/", {"name": "Elsewhere"}, headers=headers)
    found = dict(SavedView.objects.values_list("name", "query"))
    assert found == {"History": "sort=", "Elsewhere": "sort="}


@pytest.mark.parametrize("name", ["", " ", "x" * 41])
def test_a_view_needs_a_name(owner: User, name: str) -> None:
    assert "needs a name" in save(owner, name, "/")
    assert not SavedView.objects.exists()


def test_there_are_only_so_many(owner: User) -> None:
    for n in range(MOST_VIEWS):
        SavedView.objects.create(user=owner, name=f"View {n}")
    assert "Remove one first" in save(owner, "One more", "/")
    assert "Saved as" in save(owner, "View 1", "/?version=5.1")
    assert SavedView.objects.count() == MOST_VIEWS


def test_only_staff_share_and_only_with_staff(owner: User) -> None:
    support = make_user(staff_role=StaffRole.SUPPORT)
    other = make_user(staff_role=StaffRole.SUPPORT)
    save(support, "Shared by Sam", "/?show=attention", is_shared="on")
    save(support, "Own notes", "/?show=new")
    save(owner, "Of a household", "/?show=new", is_shared="on")

    def seen(user: User) -> set[str]:
        return {str(view) for view in SavedView.objects.seen_by(user)}

    assert seen(other) == {"Shared by Sam"}
    assert seen(support) == {"Shared by Sam", "Own notes"}
    assert seen(owner) == {"Of a household"}
    User.objects.filter(pk=support.pk).update(staff_role="")
    assert seen(other) == set()


def test_a_person_removes_only_their_own(owner: User) -> None:
    save(owner, "Mine", "/")
    view = SavedView.objects.get()
    path = f"/hubs/views/{view.pk}/remove/"
    assert enter(Client(), make_user()).post(path).status_code == 404
    answer = enter(Client(), owner).post(path, follow=True)
    assert "“Mine” is removed." in answer.content.decode()
    assert not SavedView.objects.exists()
