"""The catalog: what it holds, how it is searched, and what a malformed file says."""

from datetime import date
from pathlib import Path
from zipfile import Path as ZipPath
from zipfile import ZipFile

import pytest

from service.catalog import UNLISTED_TYPICAL_SECONDS, Catalog, Model
from service.create import DEFAULT_DEADLINE_SECONDS
from service.errors import SettingInvalid
from service.providers import names

ROW = 'id = "a/b"\ncategory = "text-to-video"\ntypical_seconds = 30\n'
SORA_SHUT_DOWN = date(2026, 9, 24)


def load(folder: Path, text: str, name: str = "acme.toml") -> Catalog:
    (folder / name).write_text(text)
    return Catalog.load(folder)


def test_every_provider_has_models_and_no_one_else() -> None:
    assert {model.provider for model in Catalog.load().models} == set(names())


def test_a_deadline_leaves_room_for_a_queue_and_not_for_ever() -> None:
    """25 to 60 usual renders: where the default is more or less, the model has its own."""
    for model in Catalog.load().models:
        deadline = model.deadline_seconds or DEFAULT_DEADLINE_SECONDS
        assert 25 <= deadline / model.typical_seconds <= 60, model.id
    own = {model.deadline_seconds for model in Catalog.load().models}
    assert own >= {None, 3600, 10_800}


def test_fal_has_its_eleven_endpoints_with_their_printed_categories() -> None:
    fal = [model for model in Catalog.load().models if model.provider == "fal"]
    assert {model.id: model.category for model in fal} == {
        "fal-ai/pika/v2.2/text-to-video": "text-to-video",
        "fal-ai/pika/v2.2/image-to-video": "image-to-video",
        "fal-ai/veo3.1/reference-to-video": "image-to-video",
        "fal-ai/veo3/fast": "text-to-video",
        "fal-ai/veo3.1/fast/image-to-video": "image-to-video",
        "fal-ai/sora-2/text-to-video": "text-to-video",
        "fal-ai/sora-2/image-to-video": "image-to-video",
        "fal-ai/sora-2/text-to-video/pro": "text-to-video",
        "fal-ai/sora-2/image-to-video/pro": "image-to-video",
        "fal-ai/minimax/hailuo-02/standard/text-to-video": "text-to-video",
        "fal-ai/minimax/hailuo-02/standard/image-to-video": "image-to-video",
    }


def test_the_four_sora_endpoints_and_no_others_are_retired() -> None:
    fal = [model for model in Catalog.load().models if model.provider == "fal"]
    retired = {model.id: model.retired_on for model in fal if model.retired_on}
    assert retired == {
        model.id: SORA_SHUT_DOWN for model in fal if model.id.startswith("fal-ai/sora-2/")
    }
    assert len(retired) == 4


def test_a_model_is_found_with_and_without_its_provider(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text(f"[[model]]\n{ROW}")
    catalog = load(tmp_path, f"[[model]]\n{ROW}deadline_seconds = 600\n")
    assert [model.provider for model in catalog.find("a/b")] == ["acme", "other"]
    assert catalog.find("a/b", "acme") == [
        Model(
            provider="acme",
            id="a/b",
            category="text-to-video",
            typical_seconds=30,
            deadline_seconds=600,
        )
    ]
    assert catalog.find("a/b", "third") == []
    assert catalog.find("A/B") == []


def test_definitions_are_put_where_they_are_named_and_may_be_added_to(tmp_path: Path) -> None:
    defs = "[defs]\nsize = {enum = ['a', 'b'], default = 'a'}\nsizes = {'$ref' = '#/defs/size'}\n"
    row = f"[[model]]\n{ROW}[model.input_schema.properties]\n"
    fields = "one = {'$ref' = '#/defs/sizes'}\ntwo = {'$ref' = '#/defs/size', default = 'b'}\n"
    (model,) = load(tmp_path, defs + row + fields).models
    assert model.properties["one"] == {"enum": ["a", "b"], "default": "a"}
    assert model.defaults == {"one": "a", "two": "b"}


def test_a_file_says_what_holds_for_all_of_its_models(tmp_path: Path) -> None:
    secret = "[model.input_schema.properties]\nkey = {writeOnly = true}\n"
    head = "currency = 'credits'\nhook_field = 'hook'\nmodel_field = 'name'\n"
    other = "[open]\ncategory = 'x'\ntypical_seconds = 7\n"
    catalog = load(tmp_path, f"{head}{other}[[model]]\n{ROW}{secret}")
    facts = catalog.facts("acme")
    assert (facts.currency, facts.hook_field, facts.model_field) == ("credits", "hook", "name")
    assert facts.secret_fields == {"key"}
    assert catalog.secret_fields() == {"acme": {"key"}}
    assert catalog.models[0].currency == "credits"
    (any_name,) = catalog.find("whatever", "acme")
    assert (any_name.id, any_name.open, any_name.typical_seconds) == ("whatever", True, 7)
    assert catalog.typical_seconds("acme", "whatever") == 7
    assert catalog.find("whatever") == []
    assert catalog.facts("nobody").secret_fields == frozenset()


def test_an_unlisted_model_has_a_guessed_duration(tmp_path: Path) -> None:
    catalog = load(tmp_path, f"[[model]]\n{ROW}")
    assert catalog.typical_seconds("acme", "a/b") == 30
    assert catalog.typical_seconds("acme", "a/c") == UNLISTED_TYPICAL_SECONDS
    assert catalog.typical_seconds("third", "a/b") == UNLISTED_TYPICAL_SECONDS


def test_files_of_another_kind_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("not a catalog")
    assert len(load(tmp_path, f"[[model]]\n{ROW}").models) == 1


def test_it_loads_from_inside_an_archive(tmp_path: Path) -> None:
    with ZipFile(tmp_path / "wheel.zip", "w") as archive:
        archive.writestr("catalog/acme.toml", f"[[model]]\n{ROW}")
    with ZipFile(tmp_path / "wheel.zip") as archive:
        assert [model.id for model in Catalog.load(ZipPath(archive, "catalog/")).models] == ["a/b"]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[[model", "TOML"),
        ("[[model]]\ncategory = 'text-to-video'\ntypical_seconds = 3\n", "1: id"),
        (f"[[model]]\n{ROW}[[model]]\nid = 'a/c'\ntypical_seconds = 3\n", "2: category"),
        ("[[model]]\nid = 'a/b'\ncategory = 'x'\n", "typical_seconds"),
        ("[[model]]\nid = 'a/b'\ncategory = 'x'\ntypical_seconds = '30'\n", "typical_seconds"),
        ("[[model]]\nid = 'a/b'\ncategory = 'x'\ntypical_seconds = 0\n", "typical_seconds"),
        ("[[model]]\nid = 'a/b'\ncategory = 'x'\ntypical_seconds = inf\n", "typical_seconds"),
        (f"[[model]]\n{ROW}deadline_seconds = -1\n", "deadline_seconds"),
        (f"[[model]]\n{ROW}retired_on = '2026-09-24'\n", "retired_on"),
        (f"[[model]]\n{ROW}typical = 3\n", "typical"),
        (f"currency = 'EUR'\n[[model]]\n{ROW}", "currency"),
        (f"hook_field = 3\n[[model]]\n{ROW}", "hook_field"),
        (f"model_field = ['a']\n[[model]]\n{ROW}", "model_field"),
        (f"[[model]]\n{ROW}currency = 'USD'\n", "1: currency"),
        (f"[[model]]\n{ROW}open = true\n", "1: open"),
        (f"open = 3\n[[model]]\n{ROW}", "[open]"),
        (f"[open]\n{ROW}colour = 'red'\n", "[open]: colour"),
        (f"[[model]]\n{ROW}input_schema = {{type = 'text'}}\n", "1: input_schema.type"),
        (f"[[model]]\n{ROW}input_schema = {{'$ref' = '#/defs/a'}}\n", "1: $ref: #/defs/a"),
        (f"[defs.a]\n'$ref' = '#/defs/a'\n[[model]]\n{ROW}price = {{'$ref' = '#/defs/a'}}", "$ref"),
        (f"[[model]]\n{ROW}price = {{rows = [{{amount = 0.2, when = {{}}}}]}}\n", "amount"),
        (f"[[model]]\n{ROW}price = {{rows = [{{amount = 'x', when = {{}}}}]}}\n", "amount"),
        (f"[[model]]\n{ROW}params = {{length = {{field = 'a'}}}}\n", "params.length"),
        (f"[[model]]\n{ROW}params = {{fps = {{field = 'a', template = 's'}}}}\n", "template"),
        (f"[[model]]\n{ROW}provider = 'fal'\n", "provider"),
        (f"[[model]]\n{ROW}[[model]]\n{ROW}", "twice"),
        ("[[model]]\nid = ''\ncategory = 'x'\ntypical_seconds = 3\n", "1: id"),
        ("[[model]]\nid = 'a b'\ncategory = 'x'\ntypical_seconds = 3\n", "1: id"),
        (f"[[models]]\n{ROW}", "models"),
        (f"[model]\n{ROW}", "[[model]]"),
        ("model = [3]\n", "must be a table"),
    ],
)
def test_a_malformed_file_is_named_with_its_key(tmp_path: Path, text: str, key: str) -> None:
    with pytest.raises(SettingInvalid) as caught:
        load(tmp_path, text)
    assert "acme.toml" in str(caught.value)
    assert key in str(caught.value)
