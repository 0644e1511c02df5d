"""Local evidence: tiles of many images, each location with its own label."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from torch.nn import functional as F  # noqa: E402

from wsol_deploy.model.resampling import upsample  # noqa: E402
from wsol_deploy.train.evidence import local_cross_entropy, mix_tiles  # noqa: E402


def test_every_pixel_of_a_mixed_image_stays_where_it_was_in_its_source():
    torch.manual_seed(0)
    x = torch.rand(5, 3, 37, 53)
    mixed, source = mix_tiles(x, tiles=4)
    for n in range(5):
        for row, column in ((0, 0), (17, 29), (36, 52)):
            image = int(source[n, 0, row, column])
            assert torch.equal(mixed[n, :, row, column], x[image, :, row, column])


def test_mixed_images_have_several_sources_in_blocks():
    torch.manual_seed(1)
    _, source = mix_tiles(torch.rand(8, 3, 64, 64), tiles=4)
    assert len(source[0].unique()) > 2
    changes = (source[0, 0, :, 1:] != source[0, 0, :, :-1]).any(dim=0)
    assert changes.sum() <= 5  # a grid of 4 tiles, rolled, has at most 5 vertical edges


def test_local_cross_entropy_weighs_labels_by_their_share_of_the_cell():
    source = torch.tensor([[[[0, 0], [0, 1]]]]).expand(2, 1, 2, 2)  # three quarters of image 0
    maps = torch.tensor([[[[math.log(3.0)]], [[0.0]]]]).expand(2, 2, 1, 1)  # posterior 3/4, 1/4
    expected = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    loss = local_cross_entropy(maps, source, labels=torch.tensor([0, 1]))
    assert loss.tolist() == pytest.approx([expected, expected], abs=1e-6)


def test_upsampling_by_stride_keeps_cells_on_the_middle_of_their_pixels():
    cells = torch.tensor([[[[0.0, 3.0]]]])
    laid, cut = upsample(cells, (1, 6), stride=3), upsample(cells, (1, 4), stride=3, start=2)
    assert laid[0, 0, 0].tolist() == pytest.approx([0, 0, 1, 2, 3, 3], abs=1e-6)
    assert cut[0, 0, 0].tolist() == pytest.approx([1, 2, 3, 3], abs=1e-6)


@given(
    cells=st.integers(1, 9), stride=st.integers(1, 8), cut=st.integers(0, 7), seed=st.integers(0, 9)
)
def test_upsampling_by_stride_is_the_librarys_of_whole_cells(cells, stride, cut, seed):
    x = torch.randn(1, 2, cells, cells, generator=torch.Generator().manual_seed(seed))
    side = cells * stride - min(cut, stride - 1)
    whole = F.interpolate(x, scale_factor=stride, mode="bilinear", align_corners=False)
    for covered in (True, False):
        found = upsample(x, (side, side), stride, covered=covered)
        torch.testing.assert_close(found, whole[:, :, :side, :side], atol=1e-5, rtol=0)


def test_upsampling_by_stride_mirrors_with_the_image():
    x = torch.randn(1, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    flipped = upsample(x.flip(3), (16, 16), stride=4).flip(3)
    torch.testing.assert_close(flipped, upsample(x, (16, 16), stride=4))
