"""GET /v1/models and `callboard models`: what can be rendered, how, and what it costs."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import app_client
import httpx
import pytest
from app_client import KEY, is_problem
from command_line import callboard, fails, stand_alone
from jsonschema import Draft202012Validator
from scene import make_app

from service.catalog import Catalog
from service.commands.demo.subscriber import served
from service.database import Database

CATALOG = Catalog.load()
SHOWN_KEYS = [
    *("id", "provider", "category", "input_schema", "defaults", "params", "price", "limits"),
    *("typical_seconds", "retired_on", "configured"),
]
HAILUO = "fal-ai/minimax/hailuo-02/standard/image-to-video"
PRO = "fal-ai/sora-2/image-to-video/pro"


@pytest.fixture
async def web(db: Database) -> AsyncIterator[httpx.AsyncClient]:
    await make_app(db, key=KEY)
    async with app_client.client(app_client.app(db)) as client:
        yield client


@pytest.fixture(params=["near", "far"])
async def anywhere(
    request: pytest.FixtureRequest,
    db: Database,
    dsn: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> AsyncIterator[None]:
    """The command over its own catalog, and over a service's; fal alone is configured in both."""
    stand_alone(monkeypatch, dsn, tmp_path)
    if request.param == "near":
        monkeypatch.setenv("FAL_KEY", "id:secret")
        yield
        return
    await make_app(db, key=KEY)
    async with served(app_client.app(db)) as url:
        monkeypatch.setenv("CALLBOARD_URL", url)
        monkeypatch.setenv("CALLBOARD_API_KEY", KEY)
        yield


async def shown(web: httpx.AsyncClient, path: str) -> dict[str, Any]:
    answer = await web.get(f"/v1/models/{path}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_every_model_is_listed_with_the_contracts_keys(web: httpx.AsyncClient) -> None:
    page = (await web.get("/v1/models?limit=200")).json()
    assert [one["id"] for one in page["data"]] == [one.id for one in CATALOG.models]
    assert page["next"] is None
    for one in page["data"]:
        assert list(one) == SHOWN_KEYS
        assert one["configured"] == (one["provider"] == "fal")
        Draft202012Validator.check_schema(one["input_schema"])


async def test_the_list_is_read_page_by_page_and_by_provider(web: httpx.AsyncClient) -> None:
    found: list[str] = []
    query = {"limit": "4", "provider": "fal"}
    for _ in range(3):
        page = (await web.get("/v1/models", params=query)).json()
        found += [one["id"] for one in page["data"]]
        query["after"] = page["next"]
    assert page["next"] is None
    assert found == [one.id for one in CATALOG.models if one.provider == "fal"]
    assert (await web.get("/v1/models?provider=nobody")).json() == {"data": [], "next": None}


async def test_a_model_is_shown_by_its_whole_name(web: httpx.AsyncClient) -> None:
    one = await shown(web, HAILUO)
    assert one["defaults"] == {"duration": "6", "prompt_optimizer": True, "resolution": "768P"}
    assert one["params"] == {
        "duration_seconds": {"field": "duration", "values": [6, 10]},
        "resolution": {"field": "resolution", "values": ["512p", "768p"]},
    }
    assert one["price"]["currency"] == "USD"
    assert one["price"]["rows"][1] == {
        "amount": "0.45",
        "when": {"duration": "10", "resolution": "768P"},
    }
    assert (one["typical_seconds"], one["retired_on"]) == (180, None)


async def test_what_is_retired_limited_secret_or_unpriced_is_said(web: httpx.AsyncClient) -> None:
    pro = await shown(web, PRO)
    assert pro["retired_on"] == "2026-09-24"
    assert pro["price"]["upper_bound_when"] == {"resolution": "auto"}
    assert pro["price"]["free_with"] == "api_key"
    assert pro["input_schema"]["properties"]["api_key"]["writeOnly"] is True
    seedance = await shown(web, "bytedance/seedance-2.0")
    assert seedance["price"] is None
    assert seedance["limits"]["reference_image_urls"] == "at most 9 of them"
    assert "needs an image or a video" in seedance["limits"]["audio_url"]
    assert "at most 3 of them; " in seedance["limits"]["reference_audio_urls"]
    assert (await shown(web, "veo-3.1"))["limits"]["count"] == "at least 1; at most 1"


async def test_any_name_of_prisms_is_shown_where_prism_is_named(web: httpx.AsyncClient) -> None:
    assert (await shown(web, "kling-9?provider=prism"))["id"] == "kling-9"
    assert is_problem(await web.get("/v1/models/kling-9"), 404, "not_found")
    assert is_problem(await web.get(f"/v1/models/{HAILUO}?provider=prism2"), 404, "not_found")


async def test_a_wrong_question_is_named(web: httpx.AsyncClient) -> None:
    for query, field in (
        *(("after=nobody", "after"), ("limit=0", "limit"), ("limit=201", "limit")),
        *(("model=x", "model"),),
    ):
        assert is_problem(await web.get(f"/v1/models?{query}"), 422, "invalid_request", field)
    web.headers["authorization"] = "Bearer cb_nobody"
    for path in ("/v1/models", f"/v1/models/{HAILUO}"):
        assert is_problem(await web.get(path), 401, "unauthorized")


async def test_what_several_providers_have_is_asked_for_by_provider(db: Database) -> None:
    await make_app(db, key=KEY)
    (veo,) = CATALOG.find("fal-ai/veo3/fast")
    twin = Catalog(
        models=(veo, type(veo)(provider="twin", id=veo.id, category="x", typical_seconds=1))
    )
    app = app_client.app(db, app_client.creator(db, catalog=twin))
    async with app_client.client(app) as web:
        assert is_problem(await web.get(f"/v1/models/{veo.id}"), 422, "invalid_request", "provider")
        one = await shown(web, f"{veo.id}?provider=twin")
        assert (one["provider"], one["input_schema"], one["configured"]) == ("twin", None, False)
        page = (await web.get("/v1/models?limit=1")).json()
        rest = (await web.get("/v1/models", params={"after": page["next"]})).json()
        assert [one["provider"] for one in rest["data"]] == ["twin"]


@pytest.mark.usefixtures("anywhere")
async def test_the_command_lists_what_there_is() -> None:
    ran = await callboard("models", "list")
    assert ran.code == 0
    assert [line.split()[0] for line in ran.lines[1:]] == [one.id for one in CATALOG.models]
    line = next(line for line in ran.lines if line.startswith("fal-ai/sora-2/text-to-video/pro"))
    assert line.split()[1:] == [
        *("fal", "text-to-video", "1.20", "to", "6.00", "USD", "yes", "2026-09-24"),
    ]
    relay = (await callboard("models", "list", "--provider", "relay", "--json")).json()
    assert [(one["id"], one["configured"]) for one in relay] == [
        *(("sora-2", False), ("sora-2-pro", False)),
    ]
    none = await callboard("models", "list", "--provider", "nobody")
    assert (none.code, none.err) == (0, "no such models\n")


@pytest.mark.usefixtures("anywhere")
async def test_the_command_shows_one() -> None:
    ran = await callboard("models", "show", HAILUO)
    assert ran.code == 0
    text = " ".join(ran.out.split())
    for words in (
        *('input.duration string; one of "6", "10"; default "6"', "configured yes"),
        *('params.resolution becomes resolution: "512p", "768p"', "input.prompt string; required"),
        '0.27 USD where duration "6", resolution "768P"',
    ):
        assert words in text
    assert (await callboard("models", "show", PRO, "--json")).json()["id"] == PRO
    prism = (await callboard("models", "show", "veo-3.1")).out
    assert "limit of count at least 1; at most 1" in " ".join(prism.split())
    assert fails(await callboard("models", "show", "nobody/knows"), 3, "nobody/knows")
    taken = await callboard("models", "show", "kling-9", "--provider", "prism", "--json")
    assert taken.json()["id"] == "kling-9"
