"""Nothing in the repository belongs to one machine: no path of it, no package index host."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# Put together here, so that this file does not match itself.
PATTERNS = tuple(
    re.compile(pattern.replace("~", ""))
    for pattern in (
        r"(?<![\w.])/ro~ot\b",
        r"(?<![\w.])/ho~me/\w[\w.-]*",
        r"(?<![\w.])/Us~ers/\w[\w.-]*",
        r"files\.pyth~onhosted",
        r"\bpy~pi\.org",
        r"registry\.np~mjs",
        r"registry\.ya~rnpkg",
        r"--(extra-)?in~dex-url",
        r"--find-li~nks",
        r"--trusted-ho~st",
    )
)


def suspects(name: str, text: str, checkout: Path) -> list[str]:
    """What in `text` names a machine or an index, with its line; the checkout's own path too,
    where it is long enough to be nobody else's."""
    own = [re.compile(re.escape(str(checkout)))] if len(checkout.parts) > 2 else []
    return [
        f"{name}:{number}: {found.group()}"
        for number, line in enumerate(text.splitlines(), 1)
        for pattern in (*PATTERNS, *own)
        if (found := pattern.search(line))
    ]


def tracked() -> list[str]:
    """Files under version control, and new ones that are not ignored."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-coz", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return [name for name in listed.stdout.split("\0") if (ROOT / name).is_file()]


def test_no_file_names_this_machine_or_a_package_index() -> None:
    names = tracked()
    assert "pyproject.toml" in names
    found = [
        suspect
        for name in names
        for suspect in suspects(name, (ROOT / name).read_text(errors="replace"), ROOT)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "text",
    [
        "cd /ro" + "ot/callboard",
        "x=/ho" + "me/ann/callboard",
        "'/Us" + "ers/ann'",
        "https://files.pyth" + "onhosted.org/packages/",
        "https://py" + "pi.org/simple",
        '"resolved": "https://registry.np' + 'mjs.org/x"',
        "--in" + "dex-url https://example.com",
        "--extra-in" + "dex-url=x",
        "--find-li" + "nks wheels",
        "see /srv/ann/callboard/README.md",
    ],
)
def test_a_machines_path_or_an_index_is_seen(text: str) -> None:
    assert suspects("x", text, Path("/srv/ann/callboard"))


@pytest.mark.parametrize("text", ["https://example.com/ro" + "ot/x", "/app/data", "the ho" + "me/"])
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert suspects("x", text, Path("/app")) == []
