"""Local evidence: tiles of many images, each location with its own label."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

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


def test_upsampling_by_stride_keeps_cells_on_their_pixels():
    cells = torch.tensor([[[[0.0, 4.0]]]])
    assert upsample(cells, (1, 8), stride=4)[0, 0, 0].tolist() == [0, 1, 2, 3, 4, 4, 4, 4]


def test_upsampling_by_stride_aligns_a_convolution_with_its_input():
    """A spike seen by a padded, strided convolution comes back where it was."""
    image = torch.zeros(1, 1, 33, 33)
    image[0, 0, 16, 24] = 1
    seen = torch.nn.functional.conv2d(image, torch.ones(1, 1, 3, 3), stride=4, padding=1)
    back = upsample(seen, (33, 33), stride=4)[0, 0]
    assert divmod(int(back.argmax()), 33) == (16, 24)
