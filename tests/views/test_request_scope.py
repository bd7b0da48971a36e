"""What a page looks up once: by every part of it, and not longer than the request lives."""

import gc
from typing import Any

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.test import RequestFactory

from devices import request_scope
from devices.request_scope import SELECTED_KEY, scope_of
from tests.support.factories import make_household, make_owner


@pytest.mark.django_db
def test_the_household_is_looked_up_once_and_only_where_the_person_belongs(
    django_assert_num_queries: Any,
) -> None:
    mine, other = make_household(), make_household()
    for wanted, expected in ((mine.pk, mine.pk), (other.pk, None), (None, None)):
        request = RequestFactory().get("/")
        request.user, request.session = make_owner(mine), SessionStore()
        if wanted is not None:
            request.session[SELECTED_KEY] = wanted
        assert scope_of(request).household_id == expected
        with django_assert_num_queries(0):
            assert scope_of(request).household_id == expected


def test_a_scope_ends_with_its_request() -> None:
    before = len(request_scope._scopes)
    request = RequestFactory().get("/")
    assert scope_of(request) is scope_of(request)
    assert scope_of(request) is not scope_of(RequestFactory().get("/"))
    del request
    gc.collect()
    assert len(request_scope._scopes) <= before
