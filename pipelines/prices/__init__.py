"""What a server charges: dated, replaceable price lists with a source beside each figure.

A list is a JSON file of this folder (`aws_us_east_1.json`, `self_hosted.json`); the server's profile names the one
that fits. `TIERLAKE_PRICES=/path/to/prices.json` replaces it, and other distributions add lists by entry point; the
object is a `PriceList` or a path to a JSON file:

    [project.entry-points."tierlake.prices"]
    aws_eu_central_1 = "mypackage.prices:EU_CENTRAL_1"

Units: storage in dollars per GiB-month, requests and transitions per 1,000, retrieval per GiB.
"""

from __future__ import annotations

import os
from functools import lru_cache
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tierlake.connector.nearest import nearest
from tierlake.pipelines.errors import SpecError

__all__ = ["Figure", "PriceList", "Rates", "price_list", "price_list_names"]

ENTRY_POINTS = "tierlake.prices"
ENVIRONMENT = "TIERLAKE_PRICES"


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Figure(_Value):
    """One number and where it comes from."""

    value: float = Field(ge=0)
    source: str


_FREE = Figure(value=0.0, source="none named: taken as nothing")


class Rates(_Value):
    """What one storage class costs.

    Attributes:
        storage: Per GiB-month.
        put: Per 1,000 writes and copies into the class.
        get: Per 1,000 reads.
        transition: Per 1,000 lifecycle transitions into the class.
        retrieval_gb: Per GiB read, by whatever: a copy out of the class reads it.
        min_days: An object that leaves earlier is charged for the rest of these days.
        min_bytes: A smaller object is charged as if it had this size.
        overhead_class: Bytes an object that are charged in this class on top.
        overhead_std: Bytes an object that are charged as STANDARD on top.
        storage_aia: Per GiB-month of what Intelligent-Tiering has seen nobody read for 90 days; None for other classes.
        monitoring: Per 1,000 objects a month that Intelligent-Tiering watches.
    """

    storage: Figure
    put: Figure = _FREE
    get: Figure = _FREE
    transition: Figure = _FREE
    retrieval_gb: Figure = _FREE
    min_days: Figure = _FREE
    min_bytes: Figure = _FREE
    overhead_class: Figure = _FREE
    overhead_std: Figure = _FREE
    storage_aia: Figure | None = None
    monitoring: Figure = _FREE


class PriceList(_Value):
    """One server's prices at one date.

    Attributes:
        dated: The day on which the figures were true.
        region: Where they hold.
        note: What a reader of the figures should know; plans print it.
        classes: Rates by storage class.
        tiers: Rates by tier, for servers whose classes have names of their own.
    """

    dated: str
    region: str
    currency: str = "USD"
    note: str | None = None
    classes: dict[str, Rates] = Field(default_factory=dict)
    tiers: dict[str, Rates] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _has_prices(self) -> Self:
        if not self.classes and not self.tiers:
            raise ValueError("it has prices neither for `classes` nor for `tiers`")
        return self

    def rates(self, storage_class: str, tier: str | None = None) -> Rates | None:
        """What a class costs, or failing that, the tier that it stands for; None where nobody knows.

        Args:
            storage_class: As listings report it.
            tier: What the server's profile calls it.
        """
        return self.classes.get(storage_class) or self.tiers.get(tier or "")

    @property
    def standard(self) -> Rates | None:
        """The rates of the hottest class: overheads are charged by them."""
        return self.rates("STANDARD", "hot")

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read a JSON file of this folder's shape.

        Raises:
            SpecError: It is not there, or no price list.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise SpecError(f"the price list {path} cannot be read: {error.strerror}") from error
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            where = ".".join(map(str, fault["loc"]))
            raise SpecError(
                f"{path} is not a price list: {where} {fault['msg'].removeprefix('Value error, ')}"
            ) from error


def price_list_names() -> tuple[str, ...]:
    """The names of all lists, sorted."""
    ours = {path.name.removesuffix(".json") for path in files(__name__).iterdir()}
    theirs = set(entry_points(group=ENTRY_POINTS).names)
    return tuple(sorted({name for name in ours if not name.startswith("__")} | theirs))


def price_list(name: str, *, path: str | Path | None = None) -> PriceList:
    """The prices to plan with: the file given, else the one that `TIERLAKE_PRICES` names, else the list `name`.

    Raises:
        SpecError: No such list, or one that cannot be read.
    """
    replaced = path or os.environ.get(ENVIRONMENT)
    return PriceList.from_file(Path(replaced)) if replaced else _named(name)


@lru_cache(maxsize=16)
def _named(name: str) -> PriceList:
    for entry in entry_points(group=ENTRY_POINTS, name=name):
        loaded = entry.load()
        return loaded if isinstance(loaded, PriceList) else PriceList.from_file(Path(loaded))
    resource = files(__name__) / f"{name}.json"
    if not resource.is_file():
        names = price_list_names()
        near = nearest(name, names, likeness=0.4)
        raise SpecError(
            f"there is no price list {name!r}; there are {', '.join(names)}",
            hint=None if near is None else f"did you mean {near!r}?",
        )
    return PriceList.model_validate_json(resource.read_bytes())
