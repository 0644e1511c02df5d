"""Recipes as TOML: found by name or path, overridden by key=value, checked key by key."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from wsol_deploy.errors import UsageError
from wsol_deploy.train import methods
from wsol_deploy.train.recipe import Recipe

OTHERS = "others"  # what a recipe says of the other methods
FOLDER = Path(__file__).parent / "recipes"


def load_recipe(
    name_or_path: str | Path = "default",
    overrides: Sequence[str] = (),
    method: str | None = None,
) -> Recipe:
    """A built-in recipe or a TOML file, for a method, with overrides.

    Args:
        name_or_path: the name of a built-in recipe, or a file.
        overrides: "section.key=value" each, the value as in TOML or a bare string.
        method: of Table 1; None for the recipe's. See `methods.for_method`.

    Raises:
        UsageError: no such recipe, no TOML, an unknown key, a value out of range, or what means
            nothing to the method.
    """
    path = _find(name_or_path)
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not TOML ({error})") from error
    others = document.pop(OTHERS, {})
    parse(document, str(path))
    parse(others, f"{path}: {OTHERS}")
    method = method or methods.method_of(_with(document, overrides))
    recipe = parse(_with(methods.for_method(document, others, method), overrides), "--set")
    for override in overrides:
        methods.check_meaning(override.partition("=")[0].strip(), method)
    methods.check_left_out(recipe, str(path))
    return recipe


def run_recipe(path: Path) -> Recipe:
    """The recipe that a run was trained by. Raises UsageError if this version cannot read it."""
    try:
        return load_recipe(path)
    except UsageError as error:
        raise UsageError(
            f"{error}; if another version trained this run, train again in another folder"
        ) from error


def parse(document: dict[str, Any], where: str) -> Recipe:
    """A recipe from its sections.

    Args:
        document: section to key to value.
        where: names the source in errors.

    Raises:
        UsageError: an unknown key, or a value out of range.
    """
    try:
        return Recipe.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        given = first["input"]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            key = f"{key}.{next(iter(given))}" if isinstance(given, dict) and given else key
            raise UsageError(
                f"{where}: no recipe key {key}; did you mean {nearest(key)}?"
            ) from error
        reason = first["msg"].removeprefix("Value error, ")
        if not key:
            raise UsageError(f"{where}: {reason}") from error
        raise UsageError(f"{where}: {key}: {reason} (got {given!r})") from error


def to_toml(recipe: Recipe) -> str:
    """The recipe as TOML that `load_recipe` reads back to the same recipe."""
    return "\n".join(_table((), recipe.model_dump(exclude_none=True)))


def keys() -> list[str]:
    """Every dotted key of a recipe."""
    return list(_keys(Recipe))


def names() -> list[str]:
    """The built-in recipes."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def nearest(key: str) -> str:
    """The recipe's key that looks most like this one, or ends like it."""
    last = key.rpartition(".")[2]

    def likeness(known: str) -> float:
        ending = difflib.SequenceMatcher(None, last, known.rpartition(".")[2]).ratio()
        return ending + difflib.SequenceMatcher(None, key, known).ratio()

    return max(keys(), key=likeness)


def _find(name_or_path: str | Path) -> Path:
    built_in = FOLDER / f"{name_or_path}.toml"
    if str(name_or_path) in names():
        return built_in
    path = Path(name_or_path)
    if path.is_file():
        return path
    near = difflib.get_close_matches(str(name_or_path), names(), n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}? " if near else ""
    raise UsageError(
        f"no recipe {name_or_path}; {hint}known: {', '.join(names())}, or a TOML file's path"
    )


def _with(document: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    changed = methods.merge(document)
    for override in overrides:
        _set(changed, override)
    return changed


def _set(document: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"--set {override}: write it as section.key=value, as in optim.lr=0.01")
    *sections, last = key.strip().split(".")
    place = document
    for section in sections:
        place = place.setdefault(section, {})
        if not isinstance(place, dict):
            raise UsageError(f"--set {override}: no recipe key {key}; did you mean {nearest(key)}?")
    place[last] = _value(text.strip())


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _keys(part: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in part.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _keys(kind, f"{prefix}{name}.")
        else:
            yield prefix + name


def _table(path: tuple[str, ...], table: dict[str, Any]) -> Iterator[str]:
    plain = {key: value for key, value in table.items() if not isinstance(value, dict)}
    if path and plain:
        yield f"[{'.'.join(path)}]"
    for key, value in plain.items():
        text = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        yield f"{key} = {text}"
    if plain:
        yield ""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _table((*path, key), value)
