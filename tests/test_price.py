"""service/catalog/price.py: every price that fal prints, and an honest nothing for the rest."""

from decimal import Decimal
from typing import Any

import pytest
from printed_inputs import PRINTED

from service.catalog import Catalog, Model
from service.catalog.check import Checked, check

CATALOG = Catalog.load()
PIKA, HAILUO = "fal-ai/pika/v2.2", "fal-ai/minimax/hailuo-02/standard"
VEO, VEO_REFERENCE = "fal-ai/veo3/fast", "fal-ai/veo3.1/reference-to-video"
VEO_IMAGE, SORA = "fal-ai/veo3.1/fast/image-to-video", "fal-ai/sora-2"


def model(name: str) -> Model:
    (found,) = CATALOG.find(name)
    return found


def priced(name: str, given: dict[str, Any], params: dict[str, Any] | None = None) -> Checked:
    of = model(name)
    wanted = (of.input_schema or {}).get("required", ())
    return check(
        of, {one: ["x"] if one == "image_urls" else "x" for one in wanted} | given, params or {}
    )


def audio(on: bool) -> dict[str, Any]:
    return {"generate_audio": on}


ROWS: list[tuple[str, dict[str, Any], str]] = [
    *(
        (f"{PIKA}/{kind}", {"resolution": size, "duration": 5}, price)
        for kind in ("text-to-video", "image-to-video")
        for size, price in (("720p", "0.20"), ("1080p", "0.45"))
    ),
    (VEO_REFERENCE, {"duration": "8s"} | audio(False), "1.60"),
    (VEO_REFERENCE, {"duration": "8s"} | audio(True), "3.20"),
    (VEO, {"duration": "4s"} | audio(False), "1.00"),
    (VEO, {"duration": "6s"} | audio(False), "1.50"),
    (VEO, {"duration": "8s"} | audio(False), "2.00"),
    (VEO, {"duration": "4s"} | audio(True), "1.60"),
    (VEO, {"duration": "6s"} | audio(True), "2.40"),
    (VEO, {"duration": "8s"} | audio(True), "3.20"),
    (VEO_IMAGE, {"duration": "4s"} | audio(False), "0.40"),
    (VEO_IMAGE, {"duration": "6s"} | audio(False), "0.60"),
    (VEO_IMAGE, {"duration": "8s"} | audio(False), "0.80"),
    (VEO_IMAGE, {"duration": "4s"} | audio(True), "0.60"),
    (VEO_IMAGE, {"duration": "6s"} | audio(True), "0.90"),
    (VEO_IMAGE, {"duration": "8s"} | audio(True), "1.20"),
    *(
        (f"{SORA}/{kind}-to-video", {"duration": seconds}, price)
        for kind in ("text", "image")
        for seconds, price in ((4, "0.40"), (8, "0.80"), (12, "1.20"))
    ),
    *(
        (f"{SORA}/{kind}-to-video/pro", {"duration": seconds, "resolution": size}, price)
        for kind in ("text", "image")
        for size, prices in (
            ("720p", ("1.20", "2.40", "3.60")),
            ("1080p", ("2.00", "4.00", "6.00")),
        )
        for seconds, price in zip((4, 8, 12), prices, strict=True)
    ),
    (f"{HAILUO}/text-to-video", {"duration": "6"}, "0.27"),
    (f"{HAILUO}/text-to-video", {"duration": "10"}, "0.45"),
    (f"{HAILUO}/image-to-video", {"duration": "6", "resolution": "768P"}, "0.27"),
    (f"{HAILUO}/image-to-video", {"duration": "10", "resolution": "768P"}, "0.45"),
]


@pytest.mark.parametrize(("name", "given", "price"), ROWS)
def test_a_printed_price_is_given_to_the_cent(name: str, given: dict[str, Any], price: str) -> None:
    checked = priced(name, given)
    assert (str(checked.estimate), checked.currency, checked.upper_bound) == (price, "USD", False)


def test_every_row_of_fals_is_among_them() -> None:
    rows = {
        (one.id, str(row.amount), tuple(sorted(row.when.items())))
        for one in CATALOG.models
        for row in (one.price.rows if one.price and one.provider == "fal" else ())
    }
    known = {(name, price, tuple(sorted(given.items()))) for name, given, price in ROWS}
    assert rows == known


@pytest.mark.parametrize(
    "one", [one for one in CATALOG.models if one.price], ids=lambda one: one.id
)
def test_every_row_of_the_catalog_prices_what_it_is_about(one: Model) -> None:
    assert one.price is not None
    for row in one.price.rows:
        assert priced(one.id, row.when).estimate == row.amount


@pytest.mark.parametrize(
    ("name", "price"),
    [
        (f"{PIKA}/text-to-video", "0.20"),
        (f"{PIKA}/image-to-video", "0.20"),
        (VEO_REFERENCE, "3.20"),
        (VEO, "3.20"),
        (VEO_IMAGE, "1.20"),
        (f"{SORA}/text-to-video", "0.40"),
        (f"{SORA}/image-to-video", "0.40"),
        (f"{SORA}/text-to-video/pro", "2.00"),
        (f"{HAILUO}/text-to-video", "0.27"),
        (f"{HAILUO}/image-to-video", "0.27"),
    ],
)
def test_the_providers_defaults_price_a_job_and_are_never_sent(name: str, price: str) -> None:
    checked = priced(name, {})
    assert str(checked.estimate) == price
    assert set(checked.input) == set((model(name).input_schema or {})["required"])
    assert set(model(name).defaults) - set(checked.input)


def test_a_size_that_sora_pro_chooses_is_priced_at_its_dearest() -> None:
    pro = f"{SORA}/image-to-video/pro"
    for given in ({}, {"resolution": "auto"}):
        for seconds, price in ((4, "2.00"), (8, "4.00"), (12, "6.00")):
            checked = priced(pro, given | {"duration": seconds})
            assert (str(checked.estimate), checked.upper_bound) == (price, True)
    assert not priced(f"{SORA}/image-to-video", {}).upper_bound  # its size does not matter


@pytest.mark.parametrize(
    ("name", "given"),
    [
        (f"{PIKA}/text-to-video", {"duration": 6}),
        (f"{PIKA}/image-to-video", {"duration": 10, "resolution": "1080p"}),
        (f"{HAILUO}/image-to-video", {"resolution": "512P"}),
        (f"{HAILUO}/image-to-video", {"resolution": "512P", "duration": "10"}),
    ],
)
def test_what_no_row_is_about_has_no_price(name: str, given: dict[str, Any]) -> None:
    checked = priced(name, given)
    assert (checked.estimate, checked.currency, checked.upper_bound) == (None, "USD", False)


@pytest.mark.parametrize("end", ["text-to-video", "image-to-video", "text-to-video/pro"])
def test_a_job_on_the_callers_own_key_costs_nothing_here(end: str) -> None:
    checked = priced(f"{SORA}/{end}", {"api_key": "sk-own-key", "duration": 12})
    assert (checked.estimate, checked.upper_bound) == (Decimal(0), False)
    assert priced(f"{SORA}/{end}", {"api_key": ""}).estimate
    pro = priced(f"{SORA}/image-to-video/pro", {"api_key": "sk-own-key"})
    assert (pro.estimate, pro.upper_bound) == (Decimal(0), False)


def test_a_param_prices_as_the_field_that_it_becomes() -> None:
    params = {"duration_seconds": 6, "generate_audio": False}
    assert str(priced(VEO, {}, params).estimate) == "1.50"


def test_whoever_prints_no_prices_has_none_and_credits_are_a_currency() -> None:
    currencies = {"fal": "USD", "genviral": "credits", "prism": "credits", "relay": None}
    for provider, name, given in PRINTED:
        (of,) = CATALOG.find(name, provider)
        checked = check(of, given, {})
        assert checked.currency == currencies[provider]
        assert (checked.estimate is None) == (provider != "fal")
