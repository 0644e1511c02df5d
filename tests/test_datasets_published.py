"""GlaS and CUB-200-2011 as published, and the real sets where they are at hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from dataset_files import by_name, picture, truth

from wsol_deploy.datasets import open_dataset
from wsol_deploy.errors import DataError

SHARED = Path(__file__).parents[2] / "shared" / "data"


def glas(root: Path, suffix: str = ".bmp", count: int = 6) -> Path:
    lines = ["name,patient ID, grade (GlaS), grade (Sirinukunwattana et al. 2015)"]
    for part in ("train", "testA"):
        for index in range(1, count + 1):
            stem, grade = f"{part}_{index}", "benign" if index % 2 else "malignant"
            picture(root / f"{stem}{suffix}")
            truth(root / f"{stem}_anno{suffix}")
            lines.append(f"{stem},{index}, {grade}, adenomatous")
    (root / "Grade.csv").write_text("\r\n".join(lines) + "\r\n")
    return root


@pytest.mark.parametrize("suffix", [".bmp", ".png"])
def test_glas_as_published(tmp_path, suffix):
    dataset = open_dataset(glas(tmp_path, suffix))

    assert dataset.name == "GlaS"
    assert dataset.classes == ("benign", "malignant")
    assert all(one.mask for one in dataset.samples)
    assert len(dataset.subset("test")) == 6
    assert len(dataset.subset("train")) + len(dataset.subset("valid")) == 6
    sample = by_name(dataset)[f"train_2{suffix}"]
    assert (sample.label, sample.group) == (1, "2")
    assert sample.read_mask().sum() == 8


def test_glas_with_an_image_missing(tmp_path):
    (glas(tmp_path) / "train_3.bmp").unlink()

    with pytest.raises(DataError, match=r"line 4: no image train_3\.bmp"):
        open_dataset(tmp_path)


def test_glas_with_a_label_missing(tmp_path):
    path = glas(tmp_path) / "Grade.csv"
    path.write_text(path.read_text().replace("train_1,1, benign", "train_1,1, "))

    with pytest.raises(DataError, match="line 2: no value 'grade"):
        open_dataset(tmp_path)


def test_glas_with_a_column_missing(tmp_path):
    path = glas(tmp_path) / "Grade.csv"
    path.write_text(path.read_text().replace("patient ID", "case"))

    with pytest.raises(DataError, match="no column 'patient ID'"):
        open_dataset(tmp_path)
    assert by_name(open_dataset(tmp_path, group_column="case", split="stratified"))[
        "train_1.bmp"
    ].group


@pytest.mark.skipif(not (SHARED / "glas").is_dir(), reason="../shared/data/glas is not here")
def test_the_real_glas():
    dataset = open_dataset(SHARED / "glas")

    assert len(dataset) == 165
    assert all(one.mask for one in dataset.samples)
    assert len(dataset.subset("test")) == 80
    assert sum(sample.label == 0 for sample in dataset.samples) == 74
    sample = dataset.samples[0]
    assert sample.read_image().shape[:2] == sample.read_mask().shape


@pytest.mark.skipif(not (SHARED / "animals").is_dir(), reason="../shared/data/animals is not here")
def test_the_real_animals():
    dataset = open_dataset(SHARED / "animals")

    assert dataset.classes == ("capybara", "kangaroo", "raccoon")
    assert len(dataset) == 559
    assert all(one.boxes for one in dataset.samples)
    assert sum(len(sample.boxes) for sample in dataset.samples) == 812


def cub(root: Path, *, masks: str | None = "segmentations") -> Path:
    names = [
        f"{number:03d}.{bird}/{bird}_{index:04d}_{1000 * number + index}.jpg"
        for number, bird in ((1, "Black_footed_Albatross"), (19, "Gray_Catbird"))
        for index in range(6)
    ]
    labels = [1 if name.startswith("001") else 2 for name in names]
    for name in names:
        picture(root / "images" / name)
        if masks:
            truth(root / masks / Path(name).with_suffix(".png"))

    def lines(values) -> str:
        return "".join(f"{number} {value}\n" for number, value in enumerate(values, start=1))

    (root / "images.txt").write_text(lines(names))
    (root / "image_class_labels.txt").write_text(lines(labels))
    (root / "classes.txt").write_text(lines(["001.Black_footed_Albatross", "019.Gray_Catbird"]))
    (root / "train_test_split.txt").write_text(lines(int(i % 3 > 0) for i in range(12)))
    (root / "bounding_boxes.txt").write_text(lines(["1.0 2.0 3.0 4.0"] * 12))
    return root


def test_cub_as_published(tmp_path):
    dataset = open_dataset(cub(tmp_path / "CUB_200_2011"))

    assert dataset.name == "CUB-200-2011"
    assert dataset.classes == ("001.Black_footed_Albatross", "019.Gray_Catbird")
    assert [len(dataset.subset(split)) for split in ("train", "valid", "test")] == [6, 2, 4]
    assert all(one.mask for one in dataset.samples)
    sample = by_name(dataset)["019.Gray_Catbird/Gray_Catbird_0000_19000.jpg"]
    assert (sample.label, sample.split) == (1, "test")
    assert sample.boxes == ((1, 2, 4, 6),)


def test_cub_may_be_named_by_its_parent_with_segmentations_beside(tmp_path):
    cub(tmp_path / "CUB_200_2011", masks="../segmentations")

    dataset = open_dataset(tmp_path)

    assert len(dataset) == 12
    assert all(one.mask for one in dataset.samples)


def test_cub_without_segmentations_has_no_masks(tmp_path):
    assert not any(one.mask for one in open_dataset(cub(tmp_path, masks=None)).samples)


@pytest.mark.parametrize(
    ("file", "content", "complaint"),
    [
        ("images.txt", "1 001.X/gone.jpg\n", "images.txt: image 1 is not there"),
        ("images.txt", "1\n", "images.txt, line 1"),
        ("image_class_labels.txt", "1 1\n", "image_class_labels.txt: no class for image 2"),
        ("train_test_split.txt", "1 1\n", "train_test_split.txt: no line for image 2"),
        ("bounding_boxes.txt", "1 2 3\n", "bounding_boxes.txt: the box of image 1"),
    ],
)
def test_broken_cub_files_are_named(tmp_path, file, content, complaint):
    (cub(tmp_path) / file).write_text(content)

    with pytest.raises(DataError, match=complaint):
        open_dataset(tmp_path)


def test_cub_without_its_classes_is_refused(tmp_path):
    (cub(tmp_path) / "classes.txt").unlink()

    with pytest.raises(DataError, match=r"classes.txt: cannot be read"):
        open_dataset(tmp_path)
