"""What the wheel installs: one name with all of the packages under it, beside anybody's own packages."""

import os
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile

import pytest

import tierlake
from tests import ROOT
from tests.polling import until
from tests.test_house import PACKAGES, tool, tracked
from tests.test_readme import BUCKET_APPLY, README, blocks, emptied  # noqa: F401 -- a fixture

THEIRS = """
import tierlake, connector, pipelines
assert connector.OWNER == pipelines.OWNER == "theirs"
assert tierlake.__file__.startswith({environment!r}), tierlake.__file__
"""


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def test_it_has_all_of_the_packages_under_one_name(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    packages = {
        f"tierlake/{path.relative_to(ROOT)}" for path in tracked() if path.relative_to(ROOT).parts[0] in PACKAGES
    }
    assert packages | {"tierlake/__init__.py", "tierlake/py.typed"} == {
        name for name in names if ".dist-info/" not in name
    }
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_it_works_beside_a_project_with_packages_of_the_same_names(wheel, emptied, tmp_path):  # noqa: F811 -- the fixture
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=False, symlinks=True)
    python = environment / "bin" / "python"
    (packages,) = environment.glob("lib/*/site-packages")
    packages.joinpath("dependencies.pth").write_text(sysconfig.get_path("purelib"))  # their own .pth files do not count
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, str(wheel)], check=True, capture_output=True)

    project = tmp_path / "project"
    for name in ("connector", "pipelines"):
        project.joinpath(name).mkdir(parents=True)
        project.joinpath(name, "__init__.py").write_text('OWNER = "theirs"\n')
    script = project / "first_example.py"
    script.write_text(
        "\n".join([THEIRS.format(environment=str(environment)), *blocks("python")[:2], "print(len(dataset.read()))"])
    )
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([python, script], capture_output=True, text=True, check=False, cwd=project, env=variables)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "2"


def index_of_pip():
    """Where packages come from, as pip is configured and uv wants it."""
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True)
    venv_tool = tool("venv")
    return venv_tool.uv_environ(venv_tool.parse_pip_config(listed.stdout))


@pytest.mark.slow
def test_in_an_empty_environment_the_readmes_first_example_runs_with_the_extras_that_it_names(wheel, tmp_path):
    (extras,) = re.findall(r"^\$ pip install '\.(\[[\w,]+\])'", README, re.MULTILINE)
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=False, symlinks=True)
    programs = environment / "bin"
    command = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", str(programs / "python")]
    subprocess.run(
        [*command, "--constraint", str(ROOT / "constraints.txt"), f"tierlake{extras} @ file://{wheel}"],
        check=True,
        # a newcomer has an index, and nothing of ours
        env={**os.environ, **index_of_pip()},
    )
    theirs = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "TIERLAKE_")) and name not in {"PYTHONPATH", "VIRTUAL_ENV"}
    }
    theirs["PATH"] = os.pathsep.join([str(programs), "/usr/bin", "/bin"])
    script = tmp_path / "first_example.py"
    script.write_text(blocks("python")[0])
    with subprocess.Popen(
        ["tierlake", "server", "--data", "lake-data"], cwd=tmp_path, env=theirs, stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            until((tmp_path / "lake-data" / "env.sh").exists, seconds=60)
            shell = f"source lake-data/env.sh && {BUCKET_APPLY} && python -W error first_example.py"
            done = subprocess.run(
                ["bash", "-c", shell], cwd=tmp_path, env=theirs, capture_output=True, text=True, check=False
            )
        finally:
            server.terminate()
    assert done.returncode == 0, done.stderr


def test_the_door_is_light_and_opens_all_that_it_names():
    program = "import sys, tierlake; print([name for name in sys.modules if name in sys.argv])"
    heavy = ["numpy", "pandas", "pyarrow", "pydantic", "deltalake", "dagster", "s3fs", "boto3", "fsspec"]
    done = subprocess.run([sys.executable, "-c", program, *heavy], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert sorted(tierlake.__all__) == tierlake.__all__
    assert set(tierlake.__all__) <= set(dir(tierlake))
    assert {getattr(tierlake, name).__name__ for name in tierlake.__all__} == set(tierlake.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Datset'"):
        _ = tierlake.Datset
