"""service/catalog/params.py: our params in each model's own fields and spelling."""

from typing import Any

import pytest
from printed_inputs import IMAGE

from service.catalog import Catalog, Model
from service.catalog.check import check
from service.catalog.params import NAMES, possible
from service.errors import InvalidRequest

CATALOG = Catalog.load()
VEO, PIKA = "fal-ai/veo3/fast", "fal-ai/pika/v2.2/text-to-video"
HAILUO = "fal-ai/minimax/hailuo-02/standard"


def model(name: str) -> Model:
    (found,) = CATALOG.find(name)
    return found


def needed(of: Model) -> dict[str, Any]:
    wanted = (of.input_schema or {}).get("required", ())
    return {name: [IMAGE] if name == "image_urls" else "x" for name in wanted}


def put(name: str, params: dict[str, Any], given: dict[str, Any] | None = None) -> dict[str, Any]:
    """What the params have added to the input."""
    of = model(name)
    before = needed(of) | (given or {})
    after = check(of, before, params).input
    return {field: value for field, value in after.items() if field not in needed(of)}


def refused(name: str, params: dict[str, Any], given: dict[str, Any] | None = None) -> str:
    """The one fault's message."""
    with pytest.raises(InvalidRequest) as caught:
        put(name, params, given)
    (fault,) = caught.value.fields
    assert fault.field == f"params.{next(iter(params))}"
    assert caught.value.code == "invalid_input"
    return fault.message


@pytest.mark.parametrize(
    ("name", "params", "added"),
    [
        (VEO, {"duration_seconds": 8}, {"duration": "8s"}),
        (PIKA, {"duration_seconds": 7}, {"duration": 7}),
        ("fal-ai/sora-2/text-to-video", {"duration_seconds": 12}, {"duration": 12}),
        (f"{HAILUO}/text-to-video", {"duration_seconds": 10}, {"duration": "10"}),
        (f"{HAILUO}/image-to-video", {"resolution": "768p"}, {"resolution": "768P"}),
        (f"{HAILUO}/image-to-video", {"resolution": "512P"}, {"resolution": "512P"}),
        (VEO, {"resolution": "1080p"}, {"resolution": "1080p"}),
        (VEO, {"aspect_ratio": "9:16"}, {"aspect_ratio": "9:16"}),
        (VEO, {"generate_audio": False}, {"generate_audio": False}),
        ("fal-ai/sora-2/image-to-video", {"aspect_ratio": "auto"}, {"aspect_ratio": "auto"}),
        ("sora-2", {"duration_seconds": 15}, {"duration": "15"}),
        ("sora-2-pro", {"duration_seconds": 25}, {"duration": "25"}),
        ("veo-3.1", {"duration_seconds": 8}, {"duration": "8s"}),
        ("veo-3.1", {"duration_seconds": 7.5}, {"duration": "7.5s"}),
        ("veo-3.1", {"aspect_ratio": "21:9"}, {"aspectRatio": "21:9"}),
        ("veo-3.1", {"generate_audio": True}, {"hasAudio": True}),
        ("veo-3.1", {"resolution": "1080p"}, {"resolution": "1080p"}),
        ("google/veo-3", {"fps": 24}, {"params": {"fps": 24}}),
        ("google/veo-3", {"duration_seconds": 8}, {"params": {"duration_seconds": 8}}),
    ],
)
def test_a_param_is_put_in_the_models_own_words(
    name: str, params: dict[str, Any], added: dict[str, Any]
) -> None:
    assert put(name, params) == added


def test_a_whole_number_is_whole_however_it_was_written() -> None:
    assert put(VEO, {"duration_seconds": 8.0}) == {"duration": "8s"}
    made = put(PIKA, {"duration_seconds": 5.0})["duration"]
    assert (made, type(made)) == (5, int)
    assert put("veo-3.1", {"duration_seconds": 8.0}) == {"duration": "8s"}


def test_several_go_in_together_and_the_given_input_is_left_alone() -> None:
    given = {"prompt": "x", "params": {"fps": 24}}
    params = {"duration_seconds": 5, "aspect_ratio": "9:16", "generate_audio": True}
    made = check(model("google/veo-3"), given, params).input
    assert made == {"prompt": "x", "params": {"fps": 24, **params}}
    assert given == {"prompt": "x", "params": {"fps": 24}}


@pytest.mark.parametrize(
    ("name", "params", "can"),
    [
        (VEO, {"duration_seconds": 5}, "4, 6 or 8"),
        ("fal-ai/veo3.1/reference-to-video", {"duration_seconds": 6}, "it can be 8"),
        (f"{HAILUO}/image-to-video", {"resolution": "1080p"}, '"512p" or "768p"'),
        (f"{HAILUO}/text-to-video", {"duration_seconds": 8}, "6 or 10"),
        (PIKA, {"duration_seconds": 5.5}, "a whole number"),
        (PIKA, {"aspect_ratio": "21:9"}, '"16:9", "9:16", "1:1", "4:5"'),
        ("fal-ai/sora-2/text-to-video", {"resolution": "1080p"}, '"720p"'),
        ("sora-2", {"duration_seconds": 25}, "10 or 15"),
        ("veo-3.1", {"aspect_ratio": "9:21"}, '"auto", "21:9"'),
        (VEO, {"duration_seconds": "8s"}, "a number above 0"),
        (VEO, {"duration_seconds": True}, "a number above 0"),
        ("google/veo-3", {"duration_seconds": -1}, "a number above 0"),
        ("google/veo-3", {"fps": None}, "a number above 0"),
        (VEO, {"generate_audio": "no"}, "true or false"),
        ("veo-3.1", {"resolution": 1080}, "text"),
    ],
)
def test_a_value_that_a_model_cannot_do_is_refused_with_what_it_can(
    name: str, params: dict[str, Any], can: str
) -> None:
    assert can in refused(name, params)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        (f"{HAILUO}/text-to-video", {"resolution": "768p"}),
        (f"{HAILUO}/image-to-video", {"aspect_ratio": "16:9"}),
        ("fal-ai/pika/v2.2/image-to-video", {"aspect_ratio": "16:9"}),
        ("fal-ai/veo3.1/reference-to-video", {"aspect_ratio": "16:9"}),
        (PIKA, {"generate_audio": True}),
        (VEO, {"fps": 24}),
        ("sora-2", {"resolution": "720p"}),
        ("veo-3.1", {"fps": 24}),
    ],
)
def test_a_param_that_a_model_lacks_is_refused_with_those_it_has(
    name: str, params: dict[str, Any]
) -> None:
    message = refused(name, params)
    assert "is not among this model's params" in message
    for other in model(name).params:
        assert other in message


def test_a_param_that_nobody_has_is_refused_by_name() -> None:
    assert "is no param" in refused(VEO, {"length": 8})


def test_params_and_input_may_say_the_same_and_never_differ() -> None:
    assert put(VEO, {"duration_seconds": 8}, {"duration": "8s"}) == {"duration": "8s"}
    message = refused(VEO, {"duration_seconds": 6}, {"duration": "8s"})
    assert all(word in message for word in ('"6s"', '"8s"', "input.duration", "4, 6 or 8"))
    assert "input.params.fps" in refused("google/veo-3", {"fps": 24}, {"params": {"fps": 25}})
    assert put("google/veo-3", {"fps": 24}, {"params": {"fps": 24.0}})
    assert refused("veo-3.1", {"generate_audio": True}, {"hasAudio": False})


def test_an_input_whose_own_params_are_no_object_is_refused_for_that() -> None:
    with pytest.raises(InvalidRequest) as caught:
        put("google/veo-3", {"fps": 24}, {"params": [24]})
    assert [one.field for one in caught.value.fields] == ["input.params"]


@pytest.mark.parametrize("one", CATALOG.models, ids=lambda one: one.id)
def test_whatever_a_model_says_it_can_do_it_takes(one: Model) -> None:
    assert set(one.params) <= set(NAMES)
    for name, param in one.params.items():
        for value in possible(one, param) or ():
            assert check(one, needed(one), {name: value})
