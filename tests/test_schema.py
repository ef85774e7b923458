"""service/catalog/schema.py and check.py: what each model takes, and what a refusal says."""

from typing import Any

import pytest
from jsonschema import Draft202012Validator
from printed_inputs import FAL, IMAGE, PRINTED, RELAY

from service import jsontext
from service.catalog import Catalog, Model
from service.catalog.check import Checked, check
from service.errors import InvalidRequest

CATALOG = Catalog.load()
VEO, PIKA, SORA = "fal-ai/veo3/fast", "fal-ai/pika/v2.2/text-to-video", "fal-ai/sora-2"
SEEDANCE = "bytedance/seedance-2.0"
HAILUO = "fal-ai/minimax/hailuo-02/standard"
STILL = {"prompt": "a boat", "image_url": IMAGE}
PROMPT = {"prompt": "a boat"}


def model(name: str, provider: str | None = None) -> Model:
    (found,) = CATALOG.find(name, provider)
    return found


def taken(name: str, given: dict[str, Any], **more: Any) -> Checked:
    return check(model(name, more.pop("provider", None)), given, {}, **more)


def refused(name: str, given: dict[str, Any], provider: str | None = None) -> dict[str, str]:
    """The faults by field."""
    with pytest.raises(InvalidRequest) as caught:
        taken(name, given, provider=provider)
    assert caught.value.code == "invalid_input"
    first = caught.value.fields[0]
    assert caught.value.message == f"{first.field}: {first.message}"
    return {one.field: one.message for one in caught.value.fields}


@pytest.mark.parametrize("one", CATALOG.models, ids=lambda one: one.id)
def test_every_model_has_a_good_schema_that_speaks_of_itself(one: Model) -> None:
    assert one.input_schema is not None
    Draft202012Validator.check_schema(one.input_schema)
    assert "$ref" not in jsontext.dumps(one.input_schema)
    assert one.input_schema["additionalProperties"] is False
    for name, default in one.defaults.items():
        assert Draft202012Validator(one.properties[name]).is_valid(default), name


@pytest.mark.parametrize(("provider", "name", "given"), PRINTED)
def test_every_request_that_a_provider_prints_is_taken_as_it_is(
    provider: str, name: str, given: dict[str, Any]
) -> None:
    checked = taken(name, given, provider=provider)
    assert checked.input == given
    assert jsontext.dumps(checked.input) == jsontext.dumps(given)


def test_fal_prints_twenty_three_of_them_for_its_eleven_models() -> None:
    assert len({jsontext.canonical([name, given]) for _, name, given in FAL}) == 23
    assert len({name for _, name, _ in FAL}) == 11


def test_a_misspelt_field_is_named_with_the_one_that_was_meant() -> None:
    message = refused(VEO, PROMPT | {"durration": "8s"})["input.durration"]
    assert "did you mean duration?" in message
    assert "enhance_prompt" in message


def test_a_field_that_only_the_caller_knows_passes_where_it_says_so() -> None:
    checked = taken(VEO, PROMPT | {"new_field": [1]}, unlisted=True)
    assert checked.input["new_field"] == [1]
    assert checked.warnings == ("input.new_field is not in the catalog; sent as it is",)
    with pytest.raises(InvalidRequest, match="duration"):
        taken(VEO, PROMPT | {"new_field": 1, "duration": 8}, unlisted=True)
    (odd,) = taken(VEO, PROMPT | {"\x00\ud800": 1}, unlisted=True).warnings
    assert odd == "input.\\x00\\ud800 is not in the catalog; sent as it is"


def test_every_fault_is_named_at_once_with_what_was_given_and_what_is_possible() -> None:
    faults = refused(VEO, {"duration": 8, "aspect_ratio": "4:3", "seed": True, "auto_fix": "yes"})
    assert faults.keys() == {
        *("input.prompt", "input.duration", "input.aspect_ratio", "input.seed", "input.auto_fix")
    }
    assert faults["input.prompt"] == "is required"
    assert faults["input.duration"] == '8 is not possible: must be "4s", "6s" or "8s"'
    assert faults["input.aspect_ratio"].startswith('"4:3" is not possible: must be "9:16"')
    assert "must be a whole number" in faults["input.seed"]
    assert "true or false" in faults["input.auto_fix"]


def test_what_was_given_is_shown_short_and_faults_are_few() -> None:
    assert len(refused(VEO, {"prompt": "x", "duration": "y" * 10_000})["input.duration"]) < 200
    assert len(refused(VEO, PROMPT | {f"k{n}": n for n in range(500)})) == 20
    assert refused(VEO, {"prompt": ["x"] * 9})["input.prompt"].startswith("a list of 9 is not")
    nested = refused("fal-ai/veo3.1/reference-to-video", PROMPT | {"image_urls": ["a", 7]})
    assert nested["input.image_urls.1"].startswith("7 is not possible: must be a string")


@pytest.mark.parametrize(
    ("name", "field", "good", "bad"),
    [
        (PIKA, "duration", [5, 7, 5.0], ["5", "5s", 5.5, True]),
        (VEO, "duration", ["4s", "6s", "8s"], [8, "8", "5s"]),
        ("fal-ai/veo3.1/reference-to-video", "duration", ["8s"], ["4s", "6s", 8]),
        (f"{SORA}/text-to-video", "duration", [4, 8, 12], ["4", "4s", 5]),
        (f"{SORA}/text-to-video", "resolution", ["720p"], ["1080p", "auto"]),
        (f"{SORA}/image-to-video", "resolution", ["auto", "720p"], ["1080p"]),
        (f"{SORA}/text-to-video/pro", "resolution", ["720p", "1080p"], ["auto"]),
        (f"{SORA}/image-to-video/pro", "resolution", ["auto", "720p", "1080p"], ["4k"]),
        (f"{HAILUO}/text-to-video", "duration", ["6", "10"], [6, "6s", "8"]),
        (f"{HAILUO}/image-to-video", "resolution", ["512P", "768P"], ["768p", "1080P"]),
        ("sora-2", "duration", ["10", "15"], ["25", 10, "10s"]),
        ("sora-2-pro", "duration", ["10", "15", "25"], [25, "20"]),
        ("sora-2", "aspect_ratio", ["16:9", "9:16"], ["1:1"]),
        ("veo-3.1", "aspectRatio", ["auto", "21:9", "3:4"], ["9:21"]),
        ("veo-3.1", "duration", ["5s", "8s", "anything"], [8]),
        ("veo-3.1", "count", [1], [0, 2, 4, "1"]),
        ("veed/fabric-1.0", "voice_id", ["george", "nobody-has-this-name"], [7]),
    ],
)
def test_a_field_takes_its_own_spellings_and_no_others(
    name: str, field: str, good: list[Any], bad: list[Any]
) -> None:
    of = model(name)
    needed = dict.fromkeys((of.input_schema or {}).get("required", ()), IMAGE)
    if "image_urls" in needed:
        needed["image_urls"] = [IMAGE]  # type: ignore[assignment]
    for value in good:
        assert check(of, needed | {field: value}, {}).input[field] is value
    for value in bad:
        assert list(refused(name, needed | {field: value})) == [f"input.{field}"], value


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        (f"{HAILUO}/text-to-video", ["resolution", "aspect_ratio", "generate_audio"]),
        (f"{HAILUO}/image-to-video", ["aspect_ratio", "generate_audio"]),
        ("fal-ai/pika/v2.2/image-to-video", ["aspect_ratio", "generate_audio"]),
        ("fal-ai/veo3.1/reference-to-video", ["aspect_ratio"]),
        (f"{SORA}/text-to-video", ["generate_audio", "image_url"]),
        (VEO, ["api_key"]),
        ("openai/sora-2", ["speech_text", "voice_id", "audio_url", "reference_image_urls"]),
        ("google/veo-3", ["speech_text", "voice_id", "audio_url"]),
        (SEEDANCE, ["speech_text", "voice_id"]),
        ("veed/fabric-1.0", ["reference_image_urls"]),
        ("veo-3.1", ["modelName"]),
        ("sora-2", ["model", "resolution"]),
    ],
)
def test_a_field_that_a_model_lacks_is_refused_by_name(name: str, fields: list[str]) -> None:
    for field in fields:
        assert f"input.{field}" in refused(name, {field: "x"})


def test_count_is_refused_by_name_and_says_why() -> None:
    message = refused("veo-3.1", PROMPT | {"count": 4})["input.count"]
    assert "one job is one generation" in message


@pytest.mark.parametrize(
    ("kind", "most"),
    [("reference_image_urls", 9), ("reference_video_urls", 3), ("reference_audio_urls", 3)],
)
def test_seedance_takes_so_many_references_and_no_more(kind: str, most: int) -> None:
    assert taken(SEEDANCE, {"image_url": IMAGE, kind: [IMAGE] * most})
    faults = refused(SEEDANCE, {"image_url": IMAGE, kind: [IMAGE] * (most + 1)})
    assert f"at most {most}" in faults[f"input.{kind}"]


@pytest.mark.parametrize("sound", [{"audio_url": "a"}, {"reference_audio_urls": ["a"]}])
def test_a_sound_needs_an_image_or_a_video_with_it(sound: dict[str, Any]) -> None:
    (field,) = sound
    for lonely in ({}, {"reference_image_urls": []}, {"reference_video_urls": []}, PROMPT):
        faults = refused(SEEDANCE, sound | lonely)
        assert list(faults) == [f"input.{field}"]
        assert "needs an image or a video" in faults[f"input.{field}"]
    for seen in (
        *({"image_url": "i"}, {"video_url": "v"}),
        *({"reference_image_urls": ["i"]}, {"reference_video_urls": ["v"]}),
    ):
        assert taken(SEEDANCE, sound | seen)


def test_an_empty_list_of_sounds_is_no_sound() -> None:
    assert taken(SEEDANCE, {"reference_audio_urls": []})
    assert refused(SEEDANCE, {"reference_audio_urls": [], "audio_url": "a"})


@pytest.mark.parametrize("name", ["veed/fabric-1.0", "creatify/lipsync"])
def test_the_lip_sync_models_take_speech_and_sound_alone(name: str) -> None:
    assert taken(name, {"speech_text": "hello", "voice_id": "sarah", "image_url": IMAGE})
    assert taken(name, {"audio_url": "https://example.com/a.mp3", "video_url": "v"})


@pytest.mark.parametrize("name", [m.id for m in CATALOG.models if m.provider == "genviral"])
def test_genvirals_prompt_is_never_required_and_its_raw_params_are_its_own(name: str) -> None:
    raw = {"anything": [{"at": None}], "all": 10**30}
    assert taken(name, {"raw_params": raw}).input == {"raw_params": raw}
    faults = refused(name, {"params": {"duration": 8, "fps": 0}})
    assert faults.keys() == {"input.params.duration", "input.params.fps"}


def test_hd_on_the_plain_relay_model_passes_with_a_warning() -> None:
    assert [one for one in taken("sora-2", RELAY[0][2]).warnings if "sora-2-pro" in one]
    assert taken("sora-2", PROMPT | {"hd": False}).warnings == ()
    assert taken("sora-2-pro", PROMPT | {"hd": True}).warnings == ()


@pytest.mark.parametrize("name", ["sora-2", "sora-2-pro"])
def test_the_relays_defaults_are_known_and_never_sent(name: str) -> None:
    assert model(name).defaults == {"hd": False, "private": False}
    assert taken(name, PROMPT).input == PROMPT


def test_just_fals_four_retired_models_pass_with_a_warning() -> None:
    warned = []
    for _, name, given in FAL:
        if any("2026-09-24" in one for one in taken(name, given).warnings):
            warned.append(name)
    assert set(warned) == {m.id for m in CATALOG.models if m.retired_on}
    assert len(warned) == 8


def test_any_name_passes_at_prism_where_prism_is_named() -> None:
    other = model("kling-9", "prism")
    assert other.open
    assert (other.id, other.provider, other.currency) == ("kling-9", "prism", "credits")
    assert check(other, PROMPT | {"duration": "5s"}, {}).input["duration"] == "5s"
    assert "input.count" in refused("kling-9", PROMPT | {"count": 2}, "prism")
    assert not model("veo-3.1", "prism").open
    assert CATALOG.find("kling-9") == []
    assert CATALOG.find("kling-9", "fal") == []


def test_a_secret_is_never_in_a_refusal() -> None:
    for key in (["sk-hush-hush"], {"sk-hush-hush": 1}, 7):
        faults = refused(f"{SORA}/text-to-video", PROMPT | {"api_key": key})
        assert faults["input.api_key"].startswith("must be a string")
        assert "hush" not in str(faults)
    assert "hush" not in str(refused(VEO, PROMPT | {"api_key": "sk-hush-hush"}))
    assert CATALOG.secret_fields()["fal"] == {"api_key"}
    secret = [m.id for m in CATALOG.models if m.secret_fields]
    assert sorted(secret) == sorted(m.id for m in CATALOG.models if m.retired_on)


def test_text_that_is_no_text_is_refused_or_taken_and_never_a_fault_of_ours() -> None:
    assert taken(VEO, {"prompt": "\ud800\x00"}).input == {"prompt": "\ud800\x00"}
    assert refused(VEO, PROMPT | {"\ud800": 1, "duration": "\ud800"})
    assert taken(PIKA, PROMPT | {"seed": 10**30}).input["seed"] == 10**30
