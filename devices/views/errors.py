"""What a request that cannot be read is answered."""

from django.core.exceptions import (
    DisallowedHost,
    RequestDataTooBig,
    TooManyFieldsSent,
    TooManyFilesSent,
)
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext
from django.views.defaults import bad_request as plain_bad_request

from devices.middleware import refusal
from devices.models.text import one_line

LONGEST_HOST = 100


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Return a page, or JSON for the API, that says what was wrong and which setting helps."""
    if isinstance(exception, (RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent)):
        return refusal(
            request,
            413,
            gettext("This form is too large."),
            gettext("Send less at once. Nothing was changed or sent."),
        )
    if isinstance(exception, DisallowedHost):
        host = one_line(request.META.get("HTTP_HOST", ""), LONGEST_HOST)
        sentence = gettext(
            "You opened it as “{host}”, and it does not answer to that name. If the name is right, "
            "the administrator sets PUBLIC_URL to the address that people open, or adds the name "
            "to ALLOWED_HOSTS, and restarts the server."
        )
        headline = gettext("This server has another name.")
        return refusal(request, 400, headline, sentence.format(host=host))
    if request.path.startswith("/api/"):
        return refusal(request, 400, "", "The request cannot be read. Nothing was changed or sent.")
    return plain_bad_request(request, exception)
