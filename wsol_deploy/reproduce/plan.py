"""A plan: rows that are trainings, and tables that are lists of rows. Data, not code."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from wsol_deploy.errors import UsageError
from wsol_deploy.reproduce.columns import COLUMNS
from wsol_deploy.train.methods import check_meaning

FOLDER = Path(__file__).parent / "plans"
Changes = dict[str, Any]


class Part(BaseModel):
    """Base of a plan's parts: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Row(Part):
    """One training, repeated with every seed.

    Attributes:
        title: what the tables call it.
        method: of Table 1.
        recipe: a built-in recipe's name, or a file.
        settings: names of the plan's settings, applied in this order after the budget's changes.
        changes: of the recipe's keys, after those (`set` in the file).
        budgets: budget name to changes with that budget only, the last word.
        published: column to the published value, in the column's unit.
    """

    title: str
    method: str = "minmax"
    recipe: str = "default"
    settings: tuple[str, ...] = ()
    changes: Changes = Field(default={}, alias="set")
    budgets: dict[str, Changes] = {}
    published: dict[str, float] = {}


class Table(Part):
    """A list of rows and of the columns to show (see `columns.COLUMNS`)."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    note: str = ""


class Budget(Part):
    """What a length of training changes in every row's recipe."""

    about: str
    changes: Changes = Field(default={}, alias="set")


class Plan(Part):
    """Rows and tables for one kind of data.

    Attributes:
        title: of the page.
        dataset: the data set whose published numbers these are, or None for any.
        truth: what every test image must have.
        published: who published the numbers, for the tables' heads.
        settings: name to changes of a recipe.
        budgets: by name, the default first.
        rows: by name.
        tables: by name.
        default: the tables made when none is asked for.
    """

    title: str
    dataset: str | None = None
    truth: Literal["masks", "boxes"] = "masks"
    published: str = "paper"
    settings: dict[str, Changes] = {}
    budgets: dict[str, Budget]
    rows: dict[str, Row]
    tables: dict[str, Table]
    default: tuple[str, ...]

    @model_validator(mode="after")
    def _consistent(self) -> Plan:
        for name, table in self.tables.items():
            _known(table.rows, self.rows, f"tables.{name}: row")
            _known(table.columns, COLUMNS, f"tables.{name}: column")
        for name, row in self.rows.items():
            _known(row.settings, self.settings, f"rows.{name}: settings")
            _known(row.budgets, self.budgets, f"rows.{name}: budget")
            _known(row.published, COLUMNS, f"rows.{name}: published")
        _known(self.default, self.tables, "default: table")
        return self

    def changes(self, row: str, budget: str) -> dict[str, Any]:
        """What a row changes in its recipe: dotted key to value, the last word wins.

        Of the budget's changes only those that mean something to the row's method.
        """
        own = self.rows[row]
        shared = dict(flatten(self.budgets[budget].changes))
        flat = {key: value for key, value in shared.items() if means(key, own.method)}
        settings = [self.settings[name] for name in own.settings]
        for layer in [*settings, own.changes, own.budgets.get(budget, {})]:
            flat |= dict(flatten(layer))
        return flat


def load_plan(name_or_path: str) -> Plan:
    """A built-in plan or a TOML file.

    Raises:
        UsageError: no such plan, no TOML, an unknown key, or a row that is not there.
    """
    path = _find(name_or_path)
    try:
        return Plan.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not TOML ({error})") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        reason = first["msg"].removeprefix("Value error, ")
        raise UsageError(f"{path}: {f'{place}: ' if place else ''}{reason}") from error


def names() -> list[str]:
    """The built-in plans."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def choose(asked: Iterable[str], known: Iterable[str], kind: str) -> list[str]:
    """The names asked for, in the plan's order.

    Raises:
        UsageError: one is not in the plan.
    """
    asked, known = list(asked), list(known)
    for name in asked:
        if name not in known:
            raise UsageError(f"no {kind} {name} in this plan; it has {', '.join(known)}")
    return [name for name in known if name in asked]


def means(key: str, method: str) -> bool:
    """Whether a method reads a recipe's key."""
    try:
        check_meaning(key, method)
    except UsageError:
        return False
    return True


def flatten(changes: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values of nested tables."""
    for key, value in changes.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _known(asked: Iterable[str], known: Iterable[str], kind: str) -> None:
    missing = [name for name in asked if name not in set(known)]
    if missing:
        raise ValueError(f"{kind} {missing[0]} is not there")


def _find(name_or_path: str) -> Path:
    if name_or_path in names():
        return FOLDER / f"{name_or_path}.toml"
    path = Path(name_or_path)
    if path.is_file():
        return path
    near = difflib.get_close_matches(name_or_path, names(), n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}? " if near else ""
    raise UsageError(
        f"no plan {name_or_path}; {hint}known: {', '.join(names())}, or a TOML file's path"
    )
