"""Crops in one step, not in one a side: each Slice copies what it keeps, on one core."""

from __future__ import annotations

from typing import Any

from onnxscript import ir
from onnxscript.optimizer import fold_constants
from onnxscript.rewriter import pattern, rewrite


class OneCrop(pattern.RewriteRuleClassBase):
    """A Slice of a Slice along other axes is one Slice along the axes of both."""

    def pattern(
        self, op: Any, x: Any, from1: Any, to1: Any, axes1: Any, steps1: Any,
        from2: Any, to2: Any, axes2: Any, steps2: Any,
    ) -> Any:  # fmt: skip
        """What is looked for; the first Slice has no other reader."""
        return op.Slice(op.Slice(x, from1, to1, axes1, steps1), from2, to2, axes2, steps2)

    def check(self, op: Any, *_: Any, **found: Any) -> Any:
        """Whether both axes are known, counted from the front and different."""
        known = [ir.convenience.get_const_tensor(found[name]) for name in ("axes1", "axes2")]
        axes = [int(axis) for tensor in known if tensor is not None for axis in tensor.numpy()]
        return None not in known and min(axes) >= 0 and len(set(axes)) == len(axes)

    def rewrite(
        self, op: Any, x: Any, from1: Any, to1: Any, axes1: Any, steps1: Any,
        from2: Any, to2: Any, axes2: Any, steps2: Any,
    ) -> Any:  # fmt: skip
        """The one Slice."""
        pairs = ((from1, from2), (to1, to2), (axes1, axes2), (steps1, steps2))
        return op.Slice(x, *(op.Concat(*pair, axis=0) for pair in pairs))


def merge(model: ir.Model) -> ir.Model:
    """The graph with two Slices in one, wherever one follows the other along another axis."""
    merged = rewrite(model, [OneCrop.rule()])
    fold_constants(merged)
    return merged
