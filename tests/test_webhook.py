"""service/webhook.py: what we sign, others' unmodified libraries verify; also while a secret is
replaced."""

import base64
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import svix.webhooks
from scene import WEBHOOK_SECRET
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from service import jsontext
from service.webhook import signed_headers

NEW_SECRET = "whsec_" + base64.b64encode(bytes(range(32, 64))).decode()
OTHER_SECRET = "whsec_" + base64.b64encode(bytes(range(64, 96))).decode()
CONTENT = jsontext.dumps(
    {"type": "job.completed", "data": {"job": {"metadata": {"title": "Fähre – 渡し船 🛥\u2028"}}}}
)
PACKAGE = "standardwebhooks@1.1.1"
VERIFIER = """
import { readFileSync } from "node:fs";
import { Webhook } from "standardwebhooks";

const { secret, headers, content } = JSON.parse(readFileSync(0, "utf8"));
try {
  new Webhook(secret).verify(content, headers);
  console.log("verified");
} catch (fault) {
  console.log(fault.constructor.name);
}
"""
Verify = Callable[[str, str, dict[str, str]], None]


def by_standardwebhooks(secret: str, content: str, headers: dict[str, str]) -> None:
    Webhook(secret).verify(content, headers)


def by_svix(secret: str, content: str, headers: dict[str, str]) -> None:
    svix.webhooks.Webhook(secret).verify(content, headers)


@pytest.fixture(scope="module")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where Node finds the reference library, as npm installs it."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node or npm is missing: nothing was verified in JavaScript")
    folder = tmp_path_factory.mktemp("node")
    (folder / "package.json").write_text('{"type": "module"}')
    installed = subprocess.run(
        ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", PACKAGE],
        cwd=folder,
        capture_output=True,
        timeout=90,
    )
    if installed.returncode:
        pytest.skip(f"npm cannot install {PACKAGE} here: nothing was verified in JavaScript")
    return folder


@pytest.fixture
def by_node(node_modules: Path) -> Verify:
    (node_modules / "verify.js").write_text(VERIFIER)

    def verify(secret: str, content: str, headers: dict[str, str]) -> None:
        told = subprocess.run(
            ["node", "verify.js"],
            cwd=node_modules,
            input=json.dumps({"secret": secret, "content": content, "headers": headers}),
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        if told.stdout.strip() != "verified":
            raise WebhookVerificationError(told.stdout)

    return verify


def holds(verify: Verify, refusal: type[Exception]) -> None:
    """What must hold of any library that is given what we sign."""
    alone = signed_headers([WEBHOOK_SECRET], "evt_1", CONTENT)
    verify(WEBHOOK_SECRET, CONTENT, alone)
    both = signed_headers([NEW_SECRET, WEBHOOK_SECRET], "evt_1", CONTENT)
    assert both["webhook-signature"].count("v1,") == 2
    for secret in (NEW_SECRET, WEBHOOK_SECRET):
        verify(secret, CONTENT, both)
    for secret, content, headers in (
        (OTHER_SECRET, CONTENT, both),
        (NEW_SECRET, CONTENT, alone),
        (NEW_SECRET, CONTENT + " ", both),
        (NEW_SECRET, CONTENT, both | {"webhook-id": "evt_2"}),
        (NEW_SECRET, CONTENT, both | {"webhook-timestamp": "1700000000"}),
    ):
        with pytest.raises(refusal):
            verify(secret, content, headers)


def test_standardwebhooks_verifies_what_we_sign() -> None:
    holds(by_standardwebhooks, WebhookVerificationError)


def test_a_secret_signs_the_same_with_and_without_its_padding() -> None:
    padded, plain = (
        signed_headers([secret], "evt_1", CONTENT) for secret in (NEW_SECRET, NEW_SECRET.strip("="))
    )
    assert NEW_SECRET.endswith("=")
    by_standardwebhooks(NEW_SECRET, CONTENT, padded)
    by_standardwebhooks(NEW_SECRET, CONTENT, plain)


def test_svix_verifies_what_we_sign() -> None:
    holds(by_svix, svix.webhooks.WebhookVerificationError)


@pytest.mark.slow
def test_standardwebhooks_of_npm_verifies_what_we_sign(by_node: Verify) -> None:
    holds(by_node, WebhookVerificationError)


@pytest.mark.slow
def test_the_readmes_javascript_receives_an_event_once(node_modules: Path) -> None:
    readme = (Path(__file__).parent.parent / "README.md").read_text()
    (code,) = (part.split("```")[0] for part in readme.split("```javascript\n")[1:])
    (node_modules / "receive.js").write_text(
        f'const SECRET = "{WEBHOOK_SECRET}";\nconst done = [];\n{code}\n'
        'import { readFileSync } from "node:fs";\n'
        'const { content, headers } = JSON.parse(readFileSync(0, "utf8"));\n'
        "const seen = new Set();\n"
        "const handle = (event) => done.push(event.data.job.state);\n"
        "receive(content, headers, seen, handle);\n"
        "receive(content, headers, seen, handle);\n"
        "console.log(done.join());\n"
        'receive(content + " ", headers, seen, handle);\n'
    )
    content = jsontext.dumps({"type": "job.completed", "data": {"job": {"state": "completed"}}})
    headers = signed_headers([WEBHOOK_SECRET], "evt_1", content)
    told = subprocess.run(
        ["node", "receive.js"],
        cwd=node_modules,
        input=json.dumps({"content": content, "headers": headers}),
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert told.stdout.strip() == "completed"
    assert told.returncode != 0
    assert "WebhookVerificationError" in told.stderr
