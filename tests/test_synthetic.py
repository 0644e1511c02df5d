"""Synthetic micrographs: deterministic, exact, alike around the glands, different in them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from wsol_deploy.datasets import open_dataset, synthetic
from wsol_deploy.errors import DataError

SIZE = 96
COUNT = 30


@pytest.fixture(scope="module")
def drawn() -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
    return {
        grade: [
            synthetic.render(np.random.default_rng([1, label, index]), grade, SIZE)
            for index in range(COUNT)
        ]
        for label, grade in enumerate(synthetic.GRADES)
    }


def of_region(drawn, measure) -> dict[str, np.ndarray]:
    return {
        grade: np.array([measure(image.astype(float), ids > 0) for image, ids in pairs])
        for grade, pairs in drawn.items()
    }


def gap(values: dict[str, np.ndarray]) -> np.ndarray:
    """Difference of the grades' means, in standard errors."""
    benign, malignant = values["benign"], values["malignant"]
    error = np.sqrt((benign.var(axis=0) + malignant.var(axis=0)) / COUNT)
    return np.abs(benign.mean(axis=0) - malignant.mean(axis=0)) / error


@pytest.mark.parametrize("size", [32, 97, 256])
def test_an_image_and_its_instances(size):
    image, instances = synthetic.render(np.random.default_rng(0), "malignant", size)

    assert (image.dtype, image.shape) == (np.uint8, (size, size, 3))
    assert (instances.dtype, instances.shape) == (np.uint16, (size, size))
    assert image.std() > 10
    assert 0 < (instances > 0).mean() < 1


@pytest.mark.parametrize("grade", synthetic.GRADES)
def test_the_same_seed_gives_the_same_bytes(grade):
    first, again, other = (
        synthetic.render(np.random.default_rng(seed), grade, SIZE) for seed in (4, 4, 5)
    )

    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])


def test_several_glands_cover_a_varying_half_of_the_image(drawn):
    for pairs in drawn.values():
        coverage = np.array([(ids > 0).mean() for _, ids in pairs])
        assert 0.35 < coverage.mean() < 0.52
        assert coverage.min() > 0.2
        assert coverage.max() < 0.7
        assert coverage.std() > 0.04
        assert np.mean([ids.max() for _, ids in pairs]) > 5


def test_a_mask_of_ones_scores_about_sixty_percent(drawn):
    coverage = np.array([(ids > 0).mean() for pairs in drawn.values() for _, ids in pairs])

    dice = 2 * coverage / (1 + coverage)

    assert 0.52 < dice.mean() < 0.66


def test_the_background_does_not_give_the_grade_away(drawn):
    colour = of_region(drawn, lambda image, inside: image[~inside].mean(axis=0))
    contrast = of_region(drawn, lambda image, inside: image[~inside].std(axis=0))
    coverage = of_region(drawn, lambda image, inside: inside.mean())

    assert gap(colour).max() < 3
    assert gap(contrast).max() < 3
    assert gap(coverage) < 3


def test_the_glands_do_give_the_grade_away(drawn):
    white = of_region(drawn, lambda image, inside: (image[inside].min(axis=1) > 185).mean())

    assert gap(white) > 6


def test_stain_varies_from_image_to_image(drawn):
    colours = np.array([image.mean(axis=(0, 1)) for pairs in drawn.values() for image, _ in pairs])

    assert colours.std(axis=0).min() > 4


def test_several_grades_in_one_image():
    image, instances, owners = synthetic.compose(
        np.random.default_rng(2), ("benign", "malignant"), SIZE
    )

    assert image.shape == (SIZE, SIZE, 3)
    assert set(owners) == {"benign", "malignant"}
    assert instances.max() <= len(owners)


def test_a_set_is_written_and_read_by_the_folder_reader(tmp_path):
    made = synthetic.generate(tmp_path / "set", size=48, train=6, valid=4, test=2)
    read = open_dataset(tmp_path / "set")

    assert read == made
    assert made.classes == ("benign", "malignant")
    assert [len(made.subset(split)) for split in ("train", "valid", "test")] == [6, 4, 2]
    assert all(one.mask for one in made.samples)
    for sample in made.samples:
        assert sample.read_image().shape == (48, 48, 3)
        assert sample.read_mask().shape == (48, 48)
        assert np.asarray(Image.open(sample.mask)).max() > 1


def test_the_images_below_a_split_are_images_only(tmp_path):
    synthetic.generate(tmp_path / "set", size=48, train=2, valid=2, test=4)

    assert len(list((tmp_path / "set" / "test").rglob("*.png"))) == 4


def test_an_image_does_not_depend_on_how_many_there_are(tmp_path):
    few = synthetic.generate(tmp_path / "few", size=48, train=2, valid=2, test=2)
    many = synthetic.generate(tmp_path / "many", size=48, train=4, valid=2, test=2)

    content = {sample.name: sample.image.read_bytes() for sample in many.samples}
    assert all(sample.image.read_bytes() == content[sample.name] for sample in few.samples)
    assert len(set(content.values())) == len(content)


def test_the_same_set_is_not_written_again_and_another_is(tmp_path):
    root = tmp_path / "set"
    first = synthetic.generate(root, size=48, train=2, valid=2, test=2)
    written = first.samples[0].image.stat().st_mtime_ns
    before = first.samples[0].image.read_bytes()

    same = synthetic.generate(root, size=48, train=2, valid=2, test=2)
    assert same.samples[0].image.stat().st_mtime_ns == written

    other = synthetic.generate(root, seed=1, size=48, train=2, valid=2, test=2)
    assert other.samples[0].image.read_bytes() != before
    assert json.loads((root / "synthetic.json").read_text())["seed"] == 1


def test_an_interrupted_set_does_not_count(tmp_path, monkeypatch):
    root = tmp_path / "set"
    render = synthetic.render
    calls = iter(range(100))

    def interrupted(*arguments):
        if next(calls) == 3:
            raise KeyboardInterrupt
        return render(*arguments)

    monkeypatch.setattr(synthetic, "render", interrupted)
    with pytest.raises(KeyboardInterrupt):
        synthetic.generate(root, size=48, train=4, valid=2, test=2)

    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")

    with pytest.raises(DataError, match="holds something else"):
        synthetic.generate(tmp_path, size=48, train=2, valid=2, test=2)

    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_several_workers_draw_the_same_bytes_and_count_every_image(tmp_path):
    drawn = []
    alone = synthetic.generate(tmp_path / "a", size=48, train=4, valid=2, test=2)
    together = synthetic.generate(
        tmp_path / "b",
        size=48,
        train=4,
        valid=2,
        test=2,
        workers=2,
        advance=lambda: drawn.append(1),
    )
    assert len(drawn) == 8
    for one, other in zip(alone.samples, together.samples, strict=True):
        assert one.image.read_bytes() == other.image.read_bytes()
        assert one.mask.read_bytes() == other.mask.read_bytes()
