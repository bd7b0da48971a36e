"""Errors of the JSON API: a code for programs, a sentence for people."""

from dataclasses import asdict, dataclass

from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse, JsonResponse
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError

from devices.explanations.reasons import Reason
from devices.models.text import one_line
from devices.presentation.serializers import Data

STATUSES = {
    400: "The request cannot be read.",
    401: "No token, or one that is not good.",
    403: "The token's scope, or its person's role, does not include this.",
    404: "Not in this household.",
    405: "Not a verb of this address.",
    409: "Refused; the reasons say why. Nothing was sent to the hub.",
    413: "The body is larger than this server takes.",
    415: "The body is not sent as application/json.",
    429: "Too often; Retry-After says how many seconds to wait.",
    503: "The database cannot be used now; Retry-After says when to try again.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasonData(Data):
    """One reason why something is not possible now."""

    code: str
    sentence: str

    @classmethod
    def of(cls, reason: Reason) -> "ReasonData":
        return cls(code=reason.code, sentence=reason.sentence)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemData(Data):
    """What went wrong."""

    code: str
    sentence: str
    reasons: list[ReasonData]


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorData(Data):
    """The body of every answer that is an error."""

    error: ProblemData


class ApiError(Exception):
    """Ends a request with this status and error."""

    def __init__(
        self,
        status: int,
        code: str,
        sentence: str,
        reasons: list[Reason] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(sentence)
        self.status, self.code, self.sentence = status, code, sentence
        self.reasons = [ReasonData.of(reason) for reason in reasons or []]
        self.headers = headers

    def response(self) -> HttpResponse:
        problem = ProblemData(code=self.code, sentence=self.sentence, reasons=self.reasons)
        return JsonResponse(
            asdict(ErrorData(error=problem)), status=self.status, headers=self.headers
        )


def not_found(what: str) -> ApiError:
    return ApiError(404, "not_found", f"There is no such {what} in this household.")


def not_allowed(methods: str) -> ApiError:
    sentence = f"This address answers {methods.replace(',', ' and')} only."
    return ApiError(405, "method_not_allowed", sentence, headers={"Allow": methods})


def too_often(wait_s: int) -> ApiError:
    sentence = f"That was too often. Nothing was done; try again in {wait_s} seconds."
    return ApiError(429, "too_often", sentence, headers={"Retry-After": str(wait_s)})


def add_handlers(api: NinjaAPI) -> None:
    """Give every refusal of django-ninja the shape of our errors."""

    @api.exception_handler(ApiError)
    def own(request: HttpRequest, error: ApiError) -> HttpResponse:
        return error.response()

    @api.exception_handler(ValidationError)
    def invalid(request: HttpRequest, error: ValidationError) -> HttpResponse:
        for one in error.errors:
            if one["loc"][0] == "path":  # a number outside the range of ids
                return not_found(one["loc"][-1]).response()
        faults = [f"{one_line(str(one['loc'][-1]), 80)}: {one['msg']}." for one in error.errors]
        return _bad_request(request, " ".join(faults))

    @api.exception_handler(HttpError)
    def unreadable(request: HttpRequest, error: HttpError) -> HttpResponse:
        if isinstance(error.__cause__, ApiError):
            return error.__cause__.response()
        return _bad_request(request, "The body is not JSON.")

    @api.exception_handler(RequestDataTooBig)
    def too_large(request: HttpRequest, error: RequestDataTooBig) -> HttpResponse:
        sentence = "The body is too large. Nothing was sent to any hub."
        return ApiError(413, "too_large", sentence).response()


def _bad_request(request: HttpRequest, sentence: str) -> HttpResponse:
    if request.method == "POST":
        sentence += " Nothing was sent to any hub."
    return ApiError(400, "bad_request", sentence).response()
