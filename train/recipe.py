"""Recipes: everything that decides a training, typed, as TOML."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Part(BaseModel):
    """Base of a recipe's parts: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class LossRecipe(Part):
    """Weights of the loss's terms (Eq. 9).

    Attributes:
        localizer: of H(p, p^s), Eq. 8.
        foreground: of H(p, p^)+, Eq. 3.
        background: of H(q, p^)-, Eq. 6.
        size_barrier: of the log-barrier on both regions' sizes; needs the mask attached.
        barrier_t: its sharpness.
    """

    localizer: float = Field(default=1.0, ge=0)
    foreground: float = Field(default=1.0, ge=0)
    background: float = Field(default=1.0, ge=0)
    size_barrier: float = Field(default=0.0, ge=0)
    barrier_t: float = Field(default=5.0, gt=0)


class ErasingRecipe(Part):
    """Recursive erasing (Sec. 3.4).

    Attributes:
        u: maximum depth; 0 is no erasing, one pass of the localizer.
        sigma: how slowly trust falls with depth (Eq. 13).
        mask_gradient: `detached` as in the paper (footnote 5), or `attached`.
    """

    u: int = Field(default=4, ge=0)
    sigma: float = Field(default=10.0, gt=0)
    mask_gradient: Literal["detached", "attached"] = "detached"
