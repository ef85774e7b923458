"""The house rules that a machine can hold: layers, imports, SQL's place, lengths and names."""

import ast
import re
from collections.abc import Callable, Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

# Imports point down. The first line that matches a file (below service/, without .py) places it;
# a folder stands for its __init__. Any other service/*.py is a verb.
LAYERS: tuple[tuple[int, str], ...] = (
    (0, "__init__ settings job errors ids jsontext"),
    (1, "providers catalog catalog/* database tokens signature guard http loop wire verdicts"),
    (1, "embedded embedded/* encryption gather document pace logs slots vault alarm bound"),
    (1, "call checks connections echo endpoint event_stream faults findings places pooled sockets"),
    (1, "webhook"),
    (2, "store store/* providers/* providers/*/* diagnosis inbox"),
    (2, "families feed health hints inquiry news next_attempt opening operating past reader"),
    (2, "moves recent registration renewal signing_keys standing submission tally turns wakes"),
    (5, "web/app acting assembly serve"),
    (4, "web web/* web/surfaces/* console console/*"),
    (6, "__main__ commands commands/* commands/*/*"),
    (3, "*"),
)
VERBS = 3  # they meet only in the database, and never import each other
COMMANDS = 6
SANDBOX = "sandbox"  # pretend providers: beside the layers; imports up to 1, imported by 6 only
SANDBOX_REACH = 1
PURE = re.compile("providers/[^/]+")  # a provider, file or folder, knows nothing of its own layer

HTTP_CLIENTS = {"httpx"}
HTTP_FILES = {"http", "faults"}
SQL_FILES = ("store/", "database")
SQL = re.compile(
    r"\s*(--.*\n\s*)*(select\s|insert\s+into\s|update\s+\S+\s(.*\s)?set\s|delete\s+from\s"
    r"|with\s+(recursive\s+)?\w+\s*(\([^)]*\)\s*)?as\s)",
    re.IGNORECASE | re.DOTALL,
)
SQL_WORD = re.compile(r"(?:\s|--.*\n)*([a-z]+|[A-Z]+)\s")  # prose has a capital: "With a token"

FILE_LINES = 300
FUNCTION_LINES = 50
SOURCES = {"", ".py", ".sql", ".sh", ".html", ".css", ".js", ".mjs", ".ts"}  # catalogs are data
FORBIDDEN = {"utils", "helpers", "common", "manager", "base", "misc", "core", "lib", "handlers"}

ROOT = Path(__file__).parent.parent


def files(root: Path, *folders: str) -> Iterator[Path]:
    for folder in folders:
        for path in sorted((root / folder).rglob("*")):
            hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
            if (
                path.is_file()
                and not hidden
                and not {"__pycache__", "node_modules"} & {*path.parts}
            ):
                yield path


@cache
def modules(root: Path) -> dict[str, ast.Module]:
    """Every module of service/, by its path below it without .py; a folder is its __init__. Read
    once: no test changes a tree that it has looked at."""
    found = {}
    for path in files(root, "service"):
        if path.suffix == ".py":
            name = path.relative_to(root / "service").with_suffix("").as_posix()
            found[name.removesuffix("/__init__")] = ast.parse(path.read_text(), str(path))
    return found


def layer(name: str) -> int | None:
    for number, patterns in LAYERS:
        for pattern in patterns.split():
            if re.fullmatch(re.escape(pattern).replace(r"\*", "[^/]+"), name):
                return number
    return None


def in_sandbox(name: str) -> bool:
    return name == SANDBOX or name.startswith(f"{SANDBOX}/")


def imported(name: str, tree: ast.Module, known: dict[str, ast.Module]) -> Iterator[str]:
    """The modules of service/ that one imports, wherever in it the import stands."""
    for node in ast.walk(tree):
        wanted = []
        if isinstance(node, ast.Import):
            wanted = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            wanted = [f"{node.module}.{alias.name}" for alias in node.names]
        for dotted in wanted:
            if dotted.split(".")[0] == "service":
                path = dotted.replace(".", "/").removeprefix("service").removeprefix("/")
                while path and path not in known:
                    path = path.rpartition("/")[0]
                yield path or "__init__"


def unplaced(root: Path) -> Iterator[str]:
    for name in modules(root):
        if not in_sandbox(name) and layer(name) is None:
            yield f"service/{name} is in no layer: add it to LAYERS in tests/test_layers.py"


def upward(root: Path) -> Iterator[str]:
    known = modules(root)
    for name, tree in known.items():
        for target in imported(name, tree, known):
            fault = forbidden_import(name, target)
            if fault:
                yield f"service/{name} imports service/{target}: {fault}"


def forbidden_import(name: str, target: str) -> str | None:
    here, there = layer(name), layer(target)
    if in_sandbox(target):
        allowed = in_sandbox(name) or here == COMMANDS
        return None if allowed else "only the command imports the sandbox"
    if in_sandbox(name):
        return "the sandbox knows layers 0 and 1 only" if (there or 0) > SANDBOX_REACH else None
    if here is None or there is None or there < here:
        return None
    if there > here:
        return f"layer {there} is above {here} (is one missing in LAYERS?)"
    if here == VERBS and name != target:
        return "verbs never import each other (is one no verb, and missing in LAYERS?)"
    provider = PURE.match(name)
    own = provider and re.match(rf"{provider.group()}(/|$)", target)
    return "a provider stands alone" if provider and not own else None


def circular(root: Path) -> Iterator[str]:
    known = modules(root)
    try:
        graph = {name: set(imported(name, tree, known)) - {name} for name, tree in known.items()}
        TopologicalSorter(graph).prepare()
    except CycleError as fault:
        yield f"modules import each other in a circle: {fault.args[1]}"


def relative(root: Path) -> Iterator[str]:
    for name, tree in modules(root).items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.level:
                yield f"service/{name}:{node.lineno}: imports are absolute"


def typing_only(root: Path) -> Iterator[str]:
    for name, tree in modules(root).items():
        for node in ast.walk(tree):
            words = {getattr(node, key, None) for key in ("id", "attr", "name")}
            if "TYPE_CHECKING" in words:
                yield f"service/{name}: no TYPE_CHECKING; move what both need down a layer"


def http_elsewhere(root: Path) -> Iterator[str]:
    for name, tree in modules(root).items():
        for node in ast.walk(tree):
            roots = set()
            if isinstance(node, ast.Import):
                roots = {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                roots = {node.module.split(".")[0]}
            if roots & HTTP_CLIENTS and name not in HTTP_FILES:
                yield f"service/{name}: only service/http.py and faults.py import httpx"


def strings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every string but docstrings, f-strings with a word for each placeholder."""
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = (getattr(part, "value", "") for part in node.values)
            yield node.lineno, "".join(p if isinstance(p, str) else "x" for p in parts)
        elif isinstance(node, ast.Constant) and id(node) not in prose:
            yield node.lineno, str(node.value)


def sql_elsewhere(root: Path) -> Iterator[str]:
    for name, tree in modules(root).items():
        if not name.startswith(SQL_FILES):
            for line, text in strings(tree):
                if SQL_WORD.match(text) and SQL.match(text):
                    yield f"service/{name}:{line}: SQL is for sql/, store/ and database.py"


def long_files(root: Path) -> Iterator[str]:
    for path in files(root, "service", "sql", "scripts", "tests"):
        if path.suffix in SOURCES:
            lines = len(path.read_text(errors="replace").splitlines())
            if lines > FILE_LINES:
                yield f"{path.relative_to(root)} has {lines} lines, over {FILE_LINES}"


def long_functions(root: Path) -> Iterator[str]:
    for name, tree in modules(root).items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION_LINES:
                    yield f"service/{name}: {node.name} has {lines} lines, over {FUNCTION_LINES}"


def vague_names(root: Path) -> Iterator[str]:
    for path in files(root, "service", "sql", "scripts", "tests"):
        for part in path.relative_to(root).with_suffix("").parts:
            if re.split(r"[-_.]", part)[-1] in FORBIDDEN:
                yield f"{path.relative_to(root)}: {part} says nothing; name what it holds"


RULES: tuple[Callable[[Path], Iterator[str]], ...] = (
    unplaced, upward, circular, relative, typing_only, http_elsewhere, sql_elsewhere,
    long_files, long_functions, vague_names,
)  # fmt: skip


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_tree_keeps_the_rule(rule: Callable[[Path], Iterator[str]]) -> None:
    faults = list(rule(ROOT))
    assert not faults, "\n".join(faults)


GOOD = {
    "service/__init__.py": "",
    "service/errors.py": '"""Select words, update none."""\n',
    "service/http.py": "import httpx\nfrom service.errors import Away\n",
    "service/tokens.py": "from service import errors\n",
    "service/providers/__init__.py": "",
    "service/providers/fal.py": "from service.providers import Trust\n",
    "service/providers/relay/__init__.py": "from service.providers.relay import faults\n",
    "service/providers/relay/faults.py": "",
    "service/store/jobs.py": 'QUERY = "select 1 from jobs"\n',
    "service/submit.py": 'from service.store import jobs\nHELP = "With a key, delete it"\n',
    "service/web/jobs.py": "from service import submit\nfrom service.web import access\n",
    "service/web/access.py": "",
    "service/web/app.py": "import service.web.jobs\n",
    "service/sandbox/fal.py": "from service.http import send\n",
    "service/commands/demo.py": "from service.sandbox import fal\nfrom service.web import app\n",
    "service/__main__.py": "from service.commands import demo\n",
    "tests/test_submit.py": "",
}
BAD: tuple[tuple[Callable[[Path], Iterator[str]], str, str, str], ...] = (
    (unplaced, "service/strange/thing.py", "", "add it to LAYERS"),
    (upward, "service/tokens.py", "from service.store import jobs", "layer 2 is above 1"),
    (upward, "service/tokens.py", "from service.store.jobs import QUERY", "layer 2 is above 1"),
    (upward, "service/tokens.py", "import service.store.jobs", "layer 2 is above 1"),
    (upward, "service/store/jobs.py", "def f():\n from service import submit", "3 is above 2"),
    (upward, "service/sweep.py", "from service.submit import HELP", "verbs never import"),
    (upward, "service/web/access.py", "from service.web.app import x", "layer 5 is above 4"),
    (upward, "service/providers/prism.py", "from service.providers.fal import x", "stands alone"),
    (upward, "service/providers/prism.py", "from service.store import jobs", "stands alone"),
    (upward, "service/sandbox/fal.py", "from service.store import jobs", "layers 0 and 1 only"),
    (upward, "service/web/app.py", "from service.sandbox import fal", "only the command"),
    (circular, "service/errors.py", "from service import tokens", "in a circle"),
    (relative, "service/web/jobs.py", "from . import access", "absolute"),
    (typing_only, "service/tokens.py", "from typing import TYPE_CHECKING", "no TYPE_CHECKING"),
    (typing_only, "service/tokens.py", "import typing\ntyping.TYPE_CHECKING", "no TYPE_CHECKING"),
    (http_elsewhere, "service/submit.py", "import httpx", "only service/http.py"),
    (http_elsewhere, "service/submit.py", "from httpx import get", "only service/http.py"),
    (sql_elsewhere, "service/submit.py", 'X = "select id from jobs"', "SQL is for"),
    (sql_elsewhere, "service/submit.py", 'X = f"update {X} set a = 1"', "SQL is for"),
    (sql_elsewhere, "service/submit.py", 'X = """\n-- all\nDELETE FROM jobs"""', "SQL is for"),
    (sql_elsewhere, "service/submit.py", 'X = "insert into jobs " + "x"', "SQL is for"),
    (sql_elsewhere, "service/submit.py", 'X = "with a as (select 1)"', "SQL is for"),
    (long_files, "sql/queries/jobs.sql", "\n" * 301, "301 lines"),
    (long_files, "scripts/bench", "\n" * 301, "301 lines"),
    (long_functions, "service/submit.py", "def f():\n" + " pass\n" * 50, "51 lines"),
    (vague_names, "service/utils.py", "", "says nothing"),
    (vague_names, "service/web_helpers.py", "", "says nothing"),
    (vague_names, "tests/common/test_x.py", "", "says nothing"),
)


def plant(root: Path, tree: dict[str, str]) -> None:
    for path, text in tree.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def test_a_tree_in_order_breaks_no_rule(tmp_path: Path) -> None:
    plant(tmp_path, GOOD)
    assert [fault for rule in RULES for fault in rule(tmp_path)] == []


@pytest.mark.parametrize(("rule", "path", "text", "message"), BAD)
def test_a_rule_sees_what_breaks_it(
    rule: Callable[[Path], Iterator[str]], path: str, text: str, message: str, tmp_path: Path
) -> None:
    plant(tmp_path, GOOD | {path: text})
    assert [fault for fault in rule(tmp_path) if message in fault]


def test_every_rule_has_been_seen_to_fail() -> None:
    assert {rule for rule, *_ in BAD} == set(RULES)
