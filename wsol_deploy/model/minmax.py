"""The localizer M and the classifier C on one shared backbone (Sec. 3, Fig. 2)."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

from wsol_deploy.model.backbones import Backbone
from wsol_deploy.model.config import ModelConfig
from wsol_deploy.model.heads import Localization, MapHead
from wsol_deploy.model.masks import soft_mask, union
from wsol_deploy.model.network import MapNetwork
from wsol_deploy.model.pixel_head import PixelHead
from wsol_deploy.model.pooling import wildcat
from wsol_deploy.model.probe import Probe, logits_of, usual_share
from wsol_deploy.model.resampling import bilinear, scaled, smoothed, upsample


class MinMaxNetwork(MapNetwork):
    """G of the paper: M localizes, C classifies what the mask leaves visible.

    Inputs are normalised images, N x 3 x H x W, so that a masked pixel is mid-grey. There are m
    masks, one of what decides the class, or of a multi-label network one of each class, whose
    union is R+.
    """

    outputs: tuple[str, ...] = (
        "mask", "probs", "localizer_probs", "background_probs", "class_maps",
    )  # fmt: skip

    def __init__(self, backbone: Backbone, classes: int, config: ModelConfig) -> None:
        super().__init__(backbone, config, classes)
        if self.multi_label:
            self.outputs = (*self.outputs, "class_masks")
        self.localizer = MapHead(self.channels, classes, config, wildcat(config), config.modalities)
        self.classifier = MapHead(
            self.channels, classes, config, wildcat(config), config.modalities
        )

        self.pixel_head: PixelHead | None = None
        self.probe: Probe | None = None
        self.probed_at: list[int] = []
        if config.pixel_head:
            masks = classes if self.multi_label else 1
            self.pixel_head = PixelHead(
                backbone.channels, backbone.strides, config.pixel_head, masks, backbone.covers
            )
            if config.probe:
                self.probed_at = self._nested(self.pixel_head.used[0])
                channels, strides = (
                    [values[at] for at in self.probed_at]
                    for values in (backbone.channels, backbone.strides)
                )
                self.probe = Probe(channels, strides, masks, backbone.covers)

    def _nested(self, first: int) -> list[int]:
        """Depths from the first to the class maps', as long as each stride divides the next."""
        strides, found = self.backbone.strides, [first]
        for at in range(first + 1, len(strides)):
            if strides[at] > self.stride or strides[at] % strides[found[-1]]:
                break
            found.append(at)
        return found

    def localize(self, x: Tensor) -> Localization:
        """M's forward: class maps and scores of the image."""
        size = (x.shape[2], x.shape[3])
        maps = self.backbone(self.bordered(x))
        found = self.localizer(self.read(maps, size))
        if self.pixel_head is None:
            return found
        fine = self.pixel_head.read(maps, size, self.border)
        strides = self.backbone.strides
        depths = [self.within_border(maps[at], size, strides[at]) for at in self.probed_at]
        return found._replace(fine=fine, depths=tuple(depths))

    def class_maps(self, x: Tensor) -> Tensor:
        """A alone: N x c x h' x w'."""
        return self.localizer(self.bordered_features(x)).class_maps

    def masks(self, found: Localization, size: tuple[int, int]) -> Tensor:
        """N x m x H x W in [0, 1]; the pixel head's where there is one."""
        if self.pixel_head is None:
            return self.evidence(found, size)
        return self.drawn(self.pixels(found), found, size)

    def evidence(self, found: Localization, size: tuple[int, int]) -> Tensor:
        """What the class maps say (Eq. 10 and 11): N x m x H x W in [0, 1]."""
        t = self.lay_rescaled(self.regions(found), size)
        return self.if_shown(soft_mask(t, self.config.omega, self.config.sigma_prime), found)

    def drawn(self, logits: Tensor, found: Localization, size: tuple[int, int]) -> Tensor:
        """The masks of the pixel head's logits, which are smoothed: N x m x H x W."""
        assert self.pixel_head is not None
        logits = smoothed(logits, self.config.smooth)
        stride, covers = self.pixel_head.stride, self.backbone.covers
        return self.if_shown(upsample(logits, size, stride, covered=covers).sigmoid(), found)

    def probed(self, found: Localization, size: tuple[int, int]) -> Tensor:
        """The masks as at inference: drawn in part by the probe of each image, smoothed again."""
        if self.probe is None:
            return self.masks(found, size)
        masks = smoothed(self.pixels(found), self.config.smooth).sigmoid()
        seen = self.probe(masks, found.depths)
        masks = usual_share(masks + self.config.probe * (seen - masks), self.probe.usual)
        return self.drawn(logits_of(masks), found, size)

    def pixels(self, found: Localization) -> Tensor:
        """The pixel head's logits of foreground: N x m x h'' x w''."""
        assert self.pixel_head is not None and found.fine is not None
        return (self.pixel_head.inner if self.border else self.pixel_head)(found.fine)

    @torch.no_grad()
    def follow(self, found: Localization, size: tuple[int, int]) -> None:
        """Running means follow training images: whole ones, as those at inference are."""
        self.follow_ranges(self.regions(found), size, self.shown(found))
        if self.pixel_head is not None and found.fine is not None:
            self.pixel_head.follow(found.fine)
        if self.probe is not None:
            self.probe.follow(found.depths)
            shares = self.pixels(found).sigmoid().mean(dim=(2, 3))
            self._follow(self.probe.usual, shares, self.shown(found))

    def classify(self, masked: Tensor) -> Tensor:
        """C's scores (N x c) of X+ or X-, seen at `classifier_scale`."""
        if self.config.classifier_scale < 1:
            size = scaled((masked.shape[2], masked.shape[3]), self.config.classifier_scale)
            masked = bilinear(masked, size)
        return self.classifier(self.features(masked)).logits

    def infer(self, x: Tensor, wanted: Collection[str] = outputs) -> dict[str, Tensor]:
        """The contract's outputs; what is not wanted is not computed. No erasing (Fig. 2)."""
        found = self.localize(x)
        masks = self.probed(found, (x.shape[2], x.shape[3]))
        mask = union(masks)
        result = {
            "mask": mask,
            "localizer_probs": self.posterior(found.logits),
            "class_maps": found.class_maps,
            "class_masks": masks,
        }
        if "probs" in wanted:
            result["probs"] = self.posterior(self.classify(x * mask))
        if "background_probs" in wanted:
            result["background_probs"] = self.posterior(self.classify(x * (1 - mask)))
        return {name: result[name] for name in self.outputs if name in wanted}
