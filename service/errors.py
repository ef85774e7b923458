"""Every failure Callboard raises on purpose.

CallboardError
├── SettingInvalid         a setting has a bad value; stops the start
├── DatabaseAway           Postgres did not answer; try again
├── StatementRefused       Postgres refused a statement: a fault of ours
├── DatabaseNewer          the database was migrated by newer code; stops the start
├── TokenRefused           a callback token is not one of ours, or not for this door
├── CallbackRefused        a callback's signature or ids do not hold
├── CallbackUnreadable     a callback's body cannot be read as the provider's
├── KeysAway               the provider's signing keys cannot be fetched now
├── TargetForbidden        a user-supplied address may not be called
├── NotSent                a request provably never left this machine
├── ReplyLost              a request may have arrived, and its reply did not
└── RequestFault           the API caller is told, as a problem document
    ├── InvalidRequest     422, or 400 where the body is no JSON
    ├── Unauthorized       401
    ├── Forbidden          403
    ├── NotFound           404
    ├── Conflict           409
    ├── PayloadTooLarge    413
    ├── UnsupportedMedia   415
    └── Unavailable        503
"""

from dataclasses import dataclass, field


class CallboardError(Exception):
    """Something went wrong in Callboard."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (self.__doc__ or "").strip())


class SettingInvalid(CallboardError):
    """A setting has a bad value."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name}: {problem}")
        self.name = name
        self.problem = problem


class DatabaseAway(CallboardError):
    """The database did not answer."""


class StatementRefused(CallboardError):
    """Postgres refused a statement. Its own words would quote the row, and what is in it."""


class DatabaseNewer(CallboardError):
    """The database was migrated by a newer Callboard than this one."""


class TokenRefused(CallboardError):
    """The callback token is refused."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class CallbackRefused(TokenRefused):
    """The callback is refused for what it carries beside its token."""


class CallbackUnreadable(CallboardError):
    """The callback's body is not what the provider sends."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class KeysAway(CallboardError):
    """The provider's signing keys cannot be fetched now."""


class TargetForbidden(CallboardError):
    """This address may not be called."""


class NotSent(CallboardError):
    """The request provably never left this machine."""


class ReplyLost(CallboardError):
    """The request may have arrived; its reply did not."""


@dataclass(frozen=True, slots=True)
class FieldFault:
    """One wrong field: where it is (dotted), what is wrong, and what would be right."""

    field: str
    message: str


@dataclass(eq=False)
class RequestFault(CallboardError):
    """The API caller asked for something that cannot be done as asked.

    `code` is one of the contract's closed list; `charged` is `no`, `yes` or `unknown`.
    """

    message: str
    code: str = "invalid_request"
    retryable: bool = False
    charged: str = "no"
    fields: tuple[FieldFault, ...] = field(default=())
    retry_after: int | None = None

    def __post_init__(self) -> None:
        super().__init__(self.message)


class InvalidRequest(RequestFault):
    """The request is malformed or names something we do not know."""


class NotJson(InvalidRequest):
    """The body is not JSON at all."""


class Unauthorized(RequestFault):
    """No key, or a key we do not know."""


class Forbidden(RequestFault):
    """The key's scopes do not cover this."""


class NotFound(RequestFault):
    """There is no such thing, or this key does not see it."""


class Conflict(RequestFault):
    """The state of the thing does not allow this now."""


class PayloadTooLarge(RequestFault):
    """The body is larger than is taken."""


class UnsupportedMedia(RequestFault):
    """The body is of a type that is not taken."""


class Unavailable(RequestFault):
    """Something we need is away; try again."""
