"""The address of a household's update policy: to read. It is set on its page."""

from django.utils import timezone

from devices.api.auth import BearerToken, TokenRequest
from devices.api.views import answers, api
from devices.models import Scope, database_clock
from devices.permissions import mask_people
from devices.planning.policies import policy_of
from devices.presentation.policy_data import UpdatePolicyData

__all__ = ["api"]  # with this address, and those of `views`


@api.get(
    "/update-policy/",
    auth=BearerToken(Scope.READ),
    operation_id="getUpdatePolicy",
    summary="The household's update policy, and what it would do with each hub",
    url_name="api_update_policy",
    **answers(200, UpdatePolicyData),
)
def get_update_policy(request: TokenRequest) -> UpdatePolicyData:
    """Installing by itself is switched on by an owner, on the household's page Updates."""
    token = request.auth
    policy = mask_people(token.user, policy_of(token.household), token.household_id)
    with timezone.override(token.household.zone):
        return UpdatePolicyData.of(policy, database_clock.now())
