"""A client of the whole HTTP app, in this process: no server, no subprocess, a real database."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import signing
from pydantic import SecretStr
from scene import SECRETS, WEBHOOK_SECRET

from service import ids
from service.catalog import Catalog
from service.create import Creator
from service.database import Database
from service.echo import Echo
from service.encryption import AtRest
from service.guard import Guard
from service.inbox import Inbox
from service.inquiry import Inquiry
from service.metrics import Metrics
from service.moves import Moves
from service.news import News
from service.operating import Parts
from service.pace import Pace
from service.pooled import Asker, Deliverer
from service.probe import Probe
from service.providers import Provider, fal, relay
from service.receive import Receiver
from service.recover import Recovering
from service.replay import Replayer
from service.resend import Resending
from service.signature import Keys
from service.store import access
from service.subscribe import Subscribing
from service.tail import Tail
from service.tokens import Tokens
from service.vault import NO_SECRETS, Vault
from service.wakes import Wakes
from service.web.app import App
from service.web.callbacks import Door

KEY = "cb_" + "k" * 43
MODEL = "fal-ai/veo3/fast"
JOB = {"model": MODEL, "input": {"prompt": "a paper boat"}}
CATALOG = Catalog.load()
ECHO = Echo(SECRETS)


def fal_provider(**settings: Any) -> fal.Fal:
    """fal with a key, as its settings say."""
    built = fal.build(fal.Settings(**{"fal_key": SecretStr("id:secret"), **settings}))
    assert built is not None
    return built


def relay_provider(**settings: Any) -> relay.Relay:
    """A relay with a key, as its settings say."""
    place = {"relay_key": SecretStr("sk-secret"), "relay_url": "https://relay.example"}
    built = relay.build(relay.Settings(**{**place, **settings}))
    assert built is not None
    return built


def receiver(
    db: Database, providers: Mapping[str, Provider], vault: Vault = NO_SECRETS
) -> Receiver:
    """The receiver of these providers; fal's key set is the tests' own."""
    keys = keys_of(providers)
    return Receiver(db, providers, Tokens(SECRETS), keys, Moves(db), vault, ECHO)


def keys_of(providers: Mapping[str, Provider]) -> dict[str, Keys]:
    """fal's signing keys, where it is among them."""
    return {"fal": Keys("https://keys.example", signing.key_set)} if "fal" in providers else {}


def inbox(
    db: Database, providers: Mapping[str, Provider], keys: Mapping[str, Keys] | None = None
) -> Inbox:
    """Their stored calls."""
    vault = Vault(AtRest(SECRETS), CATALOG.secret_fields())
    checked = keys_of(providers) if keys is None else keys
    return Inbox(db, providers, checked, lambda outcomes: None, vault)


def creator(
    db: Database,
    *,
    providers: Mapping[str, Provider] | None = None,
    catalog: Catalog = CATALOG,
    allowed: Sequence[str] = (),
    deadline: float | None = None,
) -> Creator:
    """A Creator over these providers (fal alone where None)."""
    configured = {"fal": fal_provider()} if providers is None else providers
    return Creator(
        db=db,
        providers=configured,
        catalog=catalog,
        guard=Guard(allowed),
        vault=Vault(AtRest(SECRETS), catalog.secret_fields()),
        deadline=deadline,
    )


def parts(
    db: Database, providers: Mapping[str, Provider], asker: Asker, vault: Vault = NO_SECRETS
) -> Parts:
    """What acts by hand work with, over these providers."""
    wakes, inquiry, pace = Wakes(), Inquiry(asker, vault, total=20.0), Pace(catalog=CATALOG)
    return Parts(
        db=db,
        providers=providers,
        catalog=CATALOG,
        inquiry=inquiry,
        news=News(db=db, inquiry=inquiry, pace=pace, wakes=wakes),
        wakes=wakes,
    )


def app(
    db: Database,
    making: Creator | None = None,
    probe: Probe | None = None,
    acting: Parts | None = None,
    sending: Deliverer | None = None,
    tail: Tail | None = None,
) -> App:
    """The app as `serve` wires it, without anybody at work behind it."""
    making = making or creator(db)
    acting = acting or parts(db, making.providers, Asker())
    at_rest, wakes, sending = AtRest(SECRETS), acting.wakes, sending or Deliverer(making.guard)
    state = {
        "replayer": Replayer(db, inbox(db, making.providers)),
        "db": db,
        "guard": making.guard,
        "at_rest": at_rest,
        "creator": making,
        "probe": probe or Probe(None, making.providers, ECHO),
        "wakes": wakes,
        "acting": acting,
        "metrics": Metrics(db, acting.wakes.tally),
        "most_in_flight": {"fal": 20},
        "recovering": Recovering(db, wake=wakes.recover),
        "subscribing": Subscribing(db, at_rest, making.guard, sending),
        "resending": Resending(db, wake=wakes.deliver),
        "tail": tail or Tail(db),
    }
    return App(Door(receiver(db, making.providers, making.vault)), state)


def client(to: App, key: str | None = KEY) -> httpx.AsyncClient:
    """A client that sends `key`; a fault inside the app is answered, as a server answers it."""
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app=to, raise_app_exceptions=False),
        base_url="http://callboard.test",
        headers={} if key is None else {"authorization": f"Bearer {key}"},
    )


async def make_key(
    db: Database,
    key: str,
    *scopes: str,
    name: str = "studio",
    all_apps: bool = False,
) -> None:
    """Another key, of the app `name`, which is made if new."""
    await access.create_key(
        db,
        app=name,
        app_id=ids.new_id(),
        app_secret=AtRest(SECRETS).encrypt(WEBHOOK_SECRET),
        key_id=ids.new_id(),
        key=key,
        scopes=scopes,
        all_apps=all_apps,
    )


def is_problem(answer: httpx.Response, status: int, code: str, *fields: str) -> bool:
    """Whether it is a whole problem document of that status and code, naming just these fields."""
    body = answer.json()
    return (
        (answer.status_code, body["status"], body["code"]) == (status, status, code)
        and answer.headers["content-type"] == "application/problem+json"
        and isinstance(body["retryable"], bool)
        and body["charged"] in ("no", "yes", "unknown")
        and body["request_id"] == answer.headers["x-request-id"]
        and tuple(one["field"] for one in body.get("errors", ())) == fields
    )


async def spoken(
    to: Any,
    parts: Sequence[bytes | None],
    *,
    path: str,
    headers: Mapping[str, str] | None = None,
    query: bytes = b"",
    method: str = "POST",
) -> tuple[int, dict[str, str], bytes] | None:
    """Speaks ASGI to an app, body part by body part; None among the parts is a caller who goes
    away. Back come status, headers and body, or None where there was no answer."""
    waiting = iter(parts)
    rest = len(parts)
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        nonlocal rest
        part = next(waiting, None)
        rest -= 1
        if part is None:
            if rest < 0:
                await asyncio.Event().wait()  # nothing more comes, as on a connection kept open
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": part, "more_body": rest > 0}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query,
        "headers": [(k.encode("latin-1"), v.encode("latin-1")) for k, v in (headers or {}).items()],
        "client": ("192.0.2.7", 1),
        "server": ("callboard.test", 80),
        "scheme": "http",
        "http_version": "1.1",
        "asgi": {"version": "3.0"},
    }
    await to(scope, receive, send)
    if not sent:
        return None
    shown = {k.decode(): v.decode() for k, v in sent[0]["headers"]}
    return sent[0]["status"], shown, b"".join(part.get("body", b"") for part in sent[1:])
