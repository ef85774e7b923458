"""What is looked at when somebody asks whether a Callboard is set up well."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at. `ok` is None where it is not known yet; `detail` says what was
    seen, and `cure` what to do about it, where there is something. No secrets in either."""

    check: str
    ok: bool | None
    detail: str
    cure: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)
