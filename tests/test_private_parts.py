"""What we use of other libraries beyond their public interfaces: the canary that names what a release has broken.

Each part stands in the table below with the modules of ours that use it, and no other module may. Each library is
capped in `pyproject.toml` below the next release that may change a part; a cap is raised with this test.
"""

from __future__ import annotations

import ast
import functools
import inspect
import sys
import tomllib
from collections.abc import Iterator
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests import ROOT
from tests.test_house import MODULES

PYPROJECT = (ROOT / "pyproject.toml").read_text()
OURS = "tierlake"


class Part(NamedTuple):
    """A part of a library, and a module of ours that uses it.

    Attributes:
        library: The distribution.
        name: `module:name` or `module:Class.name`.
        parameters: What it takes, in order; None for what is no function.
        user: The module of ours, below `tierlake`.
    """

    library: str
    name: str
    parameters: str | None
    user: str

    @property
    def attribute(self) -> str:
        return self.name.rpartition(":")[2].rpartition(".")[2]

    @property
    def is_marked(self) -> bool:
        """Whether an underscore says that it is private: one of its own, or of the module that it is imported from."""
        module, _, path = self.name.partition(":")
        return is_private(self.attribute) or ("." not in path and any(map(is_private, module.split("."))))


def parts(library: str, owner: str, user: str, **known: str | None) -> Iterator[Part]:
    for name, parameters in known.items():
        yield Part(library, f"{owner}{'.' if ':' in owner else ':'}{name}", parameters, user)


PARTS = [
    # -- requests: aiohttp repeats some by itself, and aiobotocore makes the sessions; bodies go on where they broke
    *parts("aiohttp", "aiohttp.client:ClientSession", "connector.client.sessions", _retry_connection=None),
    *parts(
        "aiobotocore",
        "aiobotocore.httpsession:AIOHTTPSession",
        "connector.client.sessions",
        _get_session="self proxy_url",
    ),
    *parts(
        "botocore",
        "botocore.response:StreamingBody",
        "connector.client.resumable_body",
        _amount_read=None,
        _raw_stream=None,
    ),
    # -- listings
    *parts(
        "aiobotocore",
        "aiobotocore.parsers:AioRestXMLParser",
        "connector.client.listing_parser",
        _parse_xml_string_to_dom="self xml_string",
        _timestamp_parser=None,
    ),
    *parts(
        "aiobotocore",
        "aiobotocore.parsers:AioResponseParserFactory",
        "connector.client.listing_parser",
        _defaults=None,
    ),
    *parts(
        "aiobotocore",
        "botocore.handlers",
        "connector.client.listing_parser",
        _handle_200_error="operation_model response_dict **kwargs",
    ),
    *parts("fsspec", "fsspec.dircache:DirCache", "connector.client.listing_cache", _cache=None, _times=None),
    *parts(
        "fsspec",
        "fsspec.spec:AbstractFileSystem",
        "connector.listing.directories",
        _ls_from_cache="self path",
        _parent="path",
        _strip_protocol="path",
    ),
    *parts("fsspec", "fsspec.asyn:AsyncFileSystem", "connector.listing.answers", _isfile="self path"),
    *parts(
        "s3fs",
        "s3fs.core:S3FileSystem",
        "connector.listing.directories",
        _call_s3="self method *akwarglist **kwargs",
        _checksum="self path refresh",
        _exists="self path",
        _find="self path maxdepth withdirs detail prefix **kwargs",
        _info="self path bucket key refresh version_id",
        _isdir="self path",
        _ls="self path detail refresh versions",
        _lsdir="self path refresh max_items delimiter prefix versions",
    ),
    # -- the filesystem
    *parts("fsspec", "fsspec.spec:AbstractFileSystem", "connector.filesystem", _strip_protocol="path"),
    *parts(
        "fsspec",
        "fsspec.asyn:AsyncFileSystem",
        "connector.filesystem",
        _copy="self path1 path2 recursive on_error maxdepth batch_size **kwargs",
        _expand_path="self path recursive maxdepth assume_literal",
        _get="self rpath lpath recursive callback maxdepth **kwargs",
        _mv_file="self path1 path2",
        _put="self lpath rpath recursive callback batch_size maxdepth **kwargs",
    ),
    *parts(
        "s3fs",
        "s3fs.core:S3FileSystem",
        "connector.filesystem",
        _bulk_delete="self pathlist **kwargs",
        _call_s3="self method *akwarglist **kwargs",
        _cat_file="self path version_id start end chunksize max_concurrency",
        _connect="self refresh kwargs",
        _cp_file="self path1 path2 preserve_etag **kwargs",
        _extra_tokenize_attributes=None,
        _info="self path bucket key refresh version_id",
        _isdir="self path",
        _mkdir="self path acl create_parents **kwargs",
        _get_file="self rpath lpath callback version_id chunksize max_concurrency **kwargs",
        _open="self path mode block_size acl version_id fill_cache cache_type autocommit size requester_pays "
        "cache_options **kwargs",
        _pipe_file="self path data chunksize max_concurrency mode **kwargs",
        _rm="self path recursive **kwargs",
        _rmdir="self path",
        _put_file="self lpath rpath callback chunksize max_concurrency mode **kwargs",
        _s3=None,
        _s3creator=None,
        _url="self path expires client_method **kwargs",
    ),
    *parts("s3fs", "s3fs.core:S3FileSystem", "connector.client.connection", _session_is_owned=None),
    # -- files
    *parts(
        "s3fs",
        "s3fs.core:S3File",
        "connector.transfer.writing_file",
        _abort_mpu="self",
        _call_s3="self method *kwarglist **kwargs",
        _request_payer_kw=None,
        append_block=None,
        buffer=None,
        forced=None,
        mpu=None,
        parts=None,
    ),
    *parts(
        "s3fs",
        "s3fs.core:S3File",
        "connector.transfer.reading_file",
        _fetch_range="self start end",
        fill_cache=None,
        mpu=None,
    ),
    *parts(
        "fsspec",
        "fsspec.spec:AbstractBufferedFile",
        "connector.transfer.reading_file",
        _details=None,
        cache=None,
        loc=None,
    ),
    *parts(
        "fsspec",
        "fsspec.caching:BaseCache",
        "connector.transfer.parquet_cache",
        _fetch="self start stop",
        _log_stats="self",
    ),
    *parts(
        "deltalake", "deltalake.fs._base_handler:BaseDeltaStorageHandler", "pipelines.tables.delta_files", _handler=None
    ),
    # -- Dagster: events and the cached status of partitions
    *parts(
        "dagster",
        "dagster._core.definitions.data_version",
        "dagster_project.dagster_internals",
        DATA_VERSION_TAG=None,
    ),
    *parts("dagster", "dagster._core.definitions.metadata", "dagster_project.dagster_internals", RawMetadataValue=None),
    *parts(
        "dagster",
        "dagster._core.definitions.reconstruct",
        "dagster_project.dagster_internals",
        ReconstructableRepository=None,
    ),
    *parts(
        "dagster",
        "dagster._core.definitions.resource_requirement",
        "dagster_project.dagster_internals",
        ResourceKeyRequirement=None,
    ),
    *parts(
        "dagster",
        "dagster._core.definitions.resource_requirement:ResourceKeyRequirement",
        "dagster_project.dagster_internals",
        describe_requirement="self",
        ensure_satisfied="self resource_defs",
    ),
    *parts(
        "dagster",
        "dagster:GraphDefinition",
        "dagster_project.dagster_internals",
        get_resource_requirements="self asset_layer",
    ),
    *parts("dagster", "dagster._core.events", "dagster_project.dagster_internals", AssetWipedData=None),
    *parts(
        "dagster",
        "dagster._core.instance.instance:DagsterInstance",
        "dagster_project.dagster_internals",
        _subscribers=None,
        add_event_listener="self run_id cb",
    ),
    *parts(
        "dagster",
        "dagster._core.instance.utils",
        "dagster_project.dagster_internals",
        RUNLESS_JOB_NAME=None,
        RUNLESS_RUN_ID=None,
    ),
    *parts(
        "dagster",
        "dagster._core.storage.event_log.schema",
        "dagster_project.dagster_internals",
        AssetEventTagsTable=None,
        AssetKeyTable=None,
        SqlEventLogStorageTable=None,
    ),
    *parts(
        "dagster",
        "dagster._core.storage.event_log.sql_event_log",
        "dagster_project.dagster_internals",
        SqlEventLogStorage=None,
    ),
    *parts(
        "dagster",
        "dagster._core.storage.event_log.sql_event_log:SqlEventLogStorage",
        "dagster_project.partitions.wipe",
        get_latest_asset_partition_materialization_attempts_without_materializations="self asset_key after_storage_id",
        get_latest_tags_by_partition="self asset_key event_type tag_keys asset_partitions before_cursor after_cursor",
        get_maximum_record_id="self",
        index_connection="self",
        index_transaction="self",
    ),
    *parts(
        "dagster",
        "dagster._core.storage.partition_status_cache",
        "dagster_project.dagster_internals",
        AssetStatusCacheValue=None,
        get_and_update_asset_status_cache_value="instance asset_key partitions_def dynamic_partitions_loader "
        "loading_context",
    ),
    *parts(
        "dagster",
        "dagster._core.storage.partition_status_cache:AssetStatusCacheValue",
        "dagster_project.partitions.wipe",
        deserialize_failed_partition_subsets="self partitions_def",
        deserialize_in_progress_partition_subsets="self partitions_def",
        deserialize_materialized_partition_subsets="self partitions_def",
    ),
    # -- Dagster: steps and resources
    *parts(
        "dagster",
        "dagster._core.execution.context.metadata_logging",
        "dagster_project.dagster_internals",
        AssetMetadataHandle=None,
        OutputMetadataAccumulator=None,
    ),
    *parts(
        "dagster",
        "dagster._core.execution.context.system:StepExecutionContext",
        "dagster_project.dagster_internals",
        _metadata_accumulator=None,
    ),
    *parts(
        "dagster",
        "dagster._core.execution.context.system:StepExecutionContext",
        "dagster_project.resources.steps",
        add_asset_metadata="self metadata asset_key partition_key",
        assets_def=None,
        get_asset_metadata="self asset_key partition_key",
        has_data_version="self asset_key",
        set_data_version="self asset_key data_version",
    ),
    *parts(
        "dagster",
        "dagster._core.execution.context.system:StepExecutionContext",
        "dagster_project.resources.failures",
        op_retry_policy=None,
        previous_attempt_count=None,
    ),
    *parts("dagster", "dagster:AssetsDefinition", "dagster_project.resources.steps", asset_deps=None),
    *parts(
        "dagster",
        "dagster._config.pythonic_config.resource:ConfigurableResourceFactory",
        "dagster_project.dagster_internals",
        _state__internal__=None,
    ),
    *parts(
        "dagster",
        "dagster._config.pythonic_config.resource:ConfigurableResourceFactoryState",
        "dagster_project.dagster_internals",
        config_schema=None,
        resource_context=None,
    ),
    *parts(
        "dagster-dask",
        "dagster_dask.executor",
        "dagster_project.executors.dask",
        RetryMode=None,
        get_dask_resource_requirements="tags",
        iterate_with_context="context_fn iterator",
        query_on_dask_worker="dependencies recon_job dagster_run run_config step_keys instance_ref known_state",
        raise_execution_interrupts=None,
    ),
]

DOCUMENTED = {"_asdict", "_fields", "_getframe", "_replace"}
"""Python's own, which begin with an underscore and are documented."""


@pytest.mark.parametrize("part", PARTS, ids=lambda part: f"{part.name}<-{part.user}")
def test_a_private_part_is_what_we_know(part: Part) -> None:
    module, _, path = part.name.partition(":")
    if find_spec(module.partition(".")[0]) is None:
        pytest.skip(f"{part.library} is not installed")
    here = f"{part.library} {metadata.version(part.library)}: {part.name}, which {OURS}.{part.user} uses"
    owner: object = import_module(module)
    *classes, name = path.split(".")
    for one in classes:
        owner = getattr(owner, one)
    if inspect.isclass(owner):
        assert any(name in names_of(base) for base in owner.__mro__), f"{here}, is gone"
    else:
        assert hasattr(owner, name), f"{here}, is gone"
    if part.parameters is not None:
        taken = [
            parameter.replace(default=parameter.empty, annotation=parameter.empty)
            for parameter in inspect.signature(getattr(owner, name)).parameters.values()
        ]
        assert " ".join(map(str, taken)) == part.parameters, f"{here}, takes other parameters"


def test_no_other_module_uses_a_private_part() -> None:
    listed = {(f"{OURS}.{part.user}", part.attribute) for part in PARTS if part.is_marked}
    used = {(module, name) for module in MODULES for name in {*named_in(module), *inherited_in(module)}}
    assert used - listed == set(), "used, but not in the table"
    assert listed - used == set(), "in the table, but not used"


@pytest.mark.parametrize("library", sorted({part.library for part in PARTS}))
def test_a_library_with_private_parts_is_capped(library: str) -> None:
    project = tomllib.loads(PYPROJECT)["project"]
    extras = project["optional-dependencies"].values()
    every = [Requirement(one) for some in [project["dependencies"], *extras] for one in some]
    (requirement,) = [one for one in every if one.name == library]
    (lowest,) = [Version(one.version) for one in requirement.specifier if one.operator == ">="]
    # all of them have their breaking changes in the second number
    following = f"{lowest.major}.{lowest.minor + 1}.0"
    assert not requirement.specifier.contains(following), f"{library} {following} may have changed the parts"
    if find_spec(library.replace("-", "_")) is not None:
        installed = metadata.version(library)
        assert requirement.specifier.contains(installed), f"{library} {installed} is not one of {requirement}"


# -- what a module of ours touches -------------------------------------------------------------------------------------


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_"


@functools.cache
def source_of(module: str) -> ast.Module:
    return ast.parse(Path(str(import_module(module).__file__)).read_text())


def is_named(node: ast.AST, *names: str) -> bool:
    return isinstance(node, ast.Name) and node.id in names


def is_given(node: ast.Attribute) -> bool:
    """Whether an attribute is set on `self`."""
    return isinstance(node.ctx, ast.Store) and is_named(node.value, "self", "cls")


@functools.cache
def our_names() -> frozenset[str]:
    """The private names that we define ourselves: of functions, classes, constants, attributes."""
    found = set()
    for module in MODULES:
        for node in ast.walk(source_of(module)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found.add(node.id)
            elif (
                isinstance(node, ast.Attribute)
                and isinstance(node.ctx, ast.Store)
                and is_named(node.value, "self", "cls")
            ):
                found.add(node.attr)
    return frozenset(filter(is_private, found))


def named_in(module: str) -> Iterator[str]:
    """The private names of others that a module reads, calls or imports."""
    for node in ast.walk(source_of(module)):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            is_parents = isinstance(node.value, ast.Call) and is_named(node.value.func, "super")
            if is_parents or node.attr not in our_names() | DOCUMENTED:
                yield node.attr
        elif (
            isinstance(node, ast.ImportFrom)
            and node.module
            and node.module.partition(".")[0] not in {OURS, "__future__"}
        ):
            within = any(map(is_private, node.module.split(".")))
            yield from (alias.name for alias in node.names if within or is_private(alias.name))
        elif isinstance(node, ast.Import):
            yield from (one.name for one in node.names if any(map(is_private, one.name.split("."))))
        elif isinstance(node, ast.Call) and is_named(node.func, "getattr", "setattr", "hasattr", "delattr"):
            yield from (
                one.value
                for one in node.args[1:2]
                if isinstance(one, ast.Constant) and is_private(str(one.value)) and one.value not in our_names()
            )


def inherited_in(module: str) -> Iterator[str]:
    """The private names that classes of a module share with classes of other libraries, on purpose or by accident."""
    for own in vars(import_module(module)).values():
        if not inspect.isclass(own) or own.__module__ != module:
            continue
        names = {name for name in names_in(own) if is_private(name)}
        for base in own.__mro__[1:]:
            package = base.__module__.partition(".")[0]
            if package != OURS and package not in sys.stdlib_module_names:
                yield from names & (names_of(base) - {"_abc_impl"})


@functools.cache
def names_in(kind: type) -> frozenset[str]:
    """The names that a class of ours defines, or uses of itself."""
    found = set()
    for node in ast.walk(definition_of(kind)):
        if isinstance(node, ast.Attribute) and is_named(node.value, "self", "cls"):
            found.add(node.attr)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return frozenset(found)


@functools.cache
def names_of(kind: type) -> frozenset[str]:
    """The names that a class of a library has, and those that it gives its instances."""
    given = (n.attr for n in ast.walk(definition_of(kind)) if isinstance(n, ast.Attribute) and is_given(n))
    return frozenset({*vars(kind), *getattr(kind, "__annotations__", ()), *given})


def definition_of(kind: type) -> ast.AST:
    """The source of a class; an empty module where it has none, as one that is made at run time or compiled."""
    return classes_of(kind.__module__).get(kind.__qualname__, ast.Module([], []))


@functools.cache
def classes_of(module: str) -> dict[str, ast.ClassDef]:
    try:
        tree = source_of(module)
    except (SyntaxError, TypeError, UnicodeDecodeError, FileNotFoundError):
        return {}
    found: dict[str, ast.ClassDef] = {}

    def look(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.ClassDef):
                found[prefix + node.name] = node
                look(node.body, f"{prefix}{node.name}.")

    look(tree.body, "")
    return found
