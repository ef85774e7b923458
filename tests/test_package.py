"""The wheel works away from the checkout: it carries its SQL and catalogs, and its command runs."""

import os
import signal
import site
import subprocess
import sys
import venv
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.slow

COUNT = """
import asyncio, os
from pathlib import Path
import asyncpg
from service.embedded import attached

async def count() -> None:
    async with attached(Path(os.environ["CALLBOARD_DATA_DIR"])) as embedded:
        connection = await asyncpg.connect(embedded.dsn)
        print(await connection.fetchval("select count(*) from jobs"))
        await connection.close()

asyncio.run(count())
"""


def run(*command: str | Path, cwd: Path, env: Mapping[str, str] | None = None) -> str:
    """Runs it without a terminal; its output, or a failure that shows both outputs."""
    done = subprocess.run(
        command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{command} exited {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def below(folder: str, *patterns: str) -> set[str]:
    return {
        path.relative_to(ROOT).as_posix()
        for pattern in patterns
        for path in (ROOT / folder).rglob(pattern)
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--wheel-dir")
    run(sys.executable, "-m", "pip", "wheel", *options, folder, ROOT, cwd=folder)
    (built,) = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def elsewhere(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel in it. The dependencies are those of this one,
    but not the checkout: of a folder named in a .pth file, its own .pth files are not read."""
    folder = tmp_path_factory.mktemp("elsewhere") / "venv"
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    (packages,) = (folder / "lib").glob("python3.*/site-packages")
    pip = (sys.executable, "-m", "pip", "--python", python, "--quiet")
    run(*pip, "install", "--no-deps", "--no-index", wheel, cwd=folder)
    (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()))
    return folder


@pytest.fixture
def nowhere(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a new machine: an empty home, nothing set, and its own data dir. A
    Postgres that is left running there is stopped."""
    home, data = tmp_path / "home", tmp_path / "data"
    home.mkdir()
    yield {"PATH": os.defpath, "HOME": str(home), "CALLBOARD_DATA_DIR": str(data)}
    for pid_file in data.rglob("postmaster.pid"):
        with suppress(ProcessLookupError):
            os.kill(int(pid_file.read_text().split()[0]), signal.SIGINT)


def test_the_wheel_holds_the_code_the_sql_and_the_catalogs(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        held = set(archive.namelist())
    sql = {f"service/{path}" for path in below("sql", "*.sql")}
    assert any("/migrations/" in path for path in sql)
    assert any("/queries/" in path for path in sql)
    catalogs = below("service/catalog", "*.toml")
    assert catalogs
    assert sql | catalogs | below("service", "*.py") <= held


def test_the_wheel_holds_nothing_else(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"service"}


def test_the_installed_package_is_not_the_checkout(elsewhere: Path, tmp_path: Path) -> None:
    asked = "import service, sys; print(service.__file__, *sys.path, sep='\\n')"
    where, *path = run(elsewhere / "bin" / "python", "-c", asked, cwd=tmp_path).splitlines()
    assert where.startswith(str(elsewhere))
    assert str(ROOT) not in path


def test_the_installed_command_migrates_from_an_empty_directory(
    elsewhere: Path, nowhere: dict[str, str], tmp_path: Path
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    callboard = elsewhere / "bin" / "callboard"
    run(callboard, "migrate", cwd=work, env=nowhere)
    run(callboard, "migrate", cwd=work, env=nowhere)  # a second time changes nothing
    assert list(work.iterdir()) == []
    assert list(Path(nowhere["HOME"]).iterdir()) == []
    assert list(Path(nowhere["CALLBOARD_DATA_DIR"]).rglob("PG_VERSION"))
    python = elsewhere / "bin" / "python"
    assert run(python, "-c", COUNT, cwd=work, env=nowhere).strip() == "0"
