"""A folder per class, what is no data set, and the fingerprint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dataset_files import by_name, class_folders, picture, truth
from PIL import Image

from wsol_deploy.datasets import open_dataset
from wsol_deploy.errors import DataError, UsageError

SHARED = Path(__file__).parents[2] / "shared" / "data"


def test_a_folder_per_class_gives_sorted_classes_and_relative_names(tmp_path):
    dataset = open_dataset(class_folders(tmp_path / "pets", ("dog", "cat")))

    assert dataset.name == "pets"
    assert dataset.classes == ("cat", "dog")
    assert len(dataset) == 10
    assert by_name(dataset)["dog/3.png"].label == 1
    assert by_name(dataset)["dog/3.png"].read_image().shape == (8, 8, 3)
    assert not any(one.mask for one in dataset.samples)


def test_class_names_may_have_spaces_and_other_scripts(tmp_path):
    dataset = open_dataset(class_folders(tmp_path, ("Große Drüse", "腺癌", "well differentiated")))

    assert dataset.classes == ("Große Drüse", "well differentiated", "腺癌")
    assert "腺癌/0.png" in by_name(dataset)


@pytest.mark.parametrize("valid", ["valid", "val"])
def test_a_split_level_is_the_official_split(tmp_path, valid):
    for level, count in (("train", 3), (valid, 1), ("test", 2)):
        class_folders(tmp_path / level, count=count)

    dataset = open_dataset(tmp_path)

    assert dataset.classes == ("cat", "dog")
    assert [len(dataset.subset(split)) for split in ("train", "valid", "test")] == [6, 2, 4]
    assert by_name(dataset)["test/dog/1.png"].split == "test"


def test_a_class_may_be_called_train(tmp_path):
    dataset = open_dataset(class_folders(tmp_path, ("train", "car")))

    assert dataset.classes == ("car", "train")


def test_images_deeper_in_a_class_folder_are_of_that_class(tmp_path):
    class_folders(tmp_path)
    picture(tmp_path / "dog" / "2024" / "holiday" / "beach.png")

    dataset = open_dataset(tmp_path)

    assert by_name(dataset)["dog/2024/holiday/beach.png"].label == 1


@pytest.mark.parametrize("ending", ["_mask", "_anno"])
def test_masks_beside_the_images_are_masks_not_images(tmp_path, ending):
    class_folders(tmp_path)
    truth(tmp_path / "cat" / f"0{ending}.png")

    dataset = open_dataset(tmp_path)

    assert len(dataset) == 10
    assert by_name(dataset)["cat/0.png"].read_mask().tolist() == np.eye(8, dtype=bool).tolist()
    assert by_name(dataset)["cat/1.png"].mask is None


def test_an_image_named_like_a_mask_is_an_image_if_it_has_no_owner(tmp_path):
    class_folders(tmp_path)
    picture(tmp_path / "cat" / "venetian_mask.png")

    assert "cat/venetian_mask.png" in by_name(open_dataset(tmp_path))


@pytest.mark.parametrize("mask", ["masks/cat/0.bmp", "masks/cat/0.png.png"])
def test_masks_in_a_parallel_tree(tmp_path, mask):
    class_folders(tmp_path)
    truth(tmp_path / mask)

    dataset = open_dataset(tmp_path)

    assert dataset.classes == ("cat", "dog")
    assert by_name(dataset)["cat/0.png"].mask == tmp_path / mask


@pytest.mark.parametrize("place", [".", "test", "out", "test/cat"])
def test_masks_that_predict_wrote_are_no_truth(tmp_path, place):
    for level in ("train", "test") if place.startswith("test") else (".",):
        class_folders(tmp_path / level)
    output = tmp_path / place
    truth(output / "masks/cat/0.png.png")
    (output / "journal.jsonl").write_text('{"journal": 1}\n')
    with pytest.raises(DataError, match="a model's masks are no truth; move"):
        open_dataset(tmp_path)


def test_boxes_csv_gives_the_boxes_of_the_image_s_own_class(tmp_path):
    class_folders(tmp_path)
    (tmp_path / "boxes.csv").write_text(
        "image,label,width,height,x0,y0,x1,y1,source\n"
        "cat/0.png,cat,8,8,0,1,4,5,a\ncat/0.png,cat,8,8,2.5,2,8,8,a\ncat/0.png,dog,8,8,0,0,1,1,a\n"
    )

    samples = by_name(open_dataset(tmp_path))

    assert samples["cat/0.png"].boxes == ((0, 1, 4, 5), (2.5, 2, 8, 8))
    assert samples["cat/1.png"].boxes == ()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("image,label,x0,y0,x1\ncat/0.png,cat,1,2,3\n", "line 2"),
        ("image,label,x0,y0,x1,y1\ncat/0.png,cat,1,2,3,wide\n", "line 2"),
        ("image,label,x0,y0,x1,y1\ncat/99.png,cat,1,2,3,4\n", "no image cat/99.png"),
    ],
)
def test_broken_boxes_are_named(tmp_path, content, complaint):
    class_folders(tmp_path)
    (tmp_path / "boxes.csv").write_text(content)

    with pytest.raises(DataError, match=f"boxes.csv.*{complaint}"):
        open_dataset(tmp_path)


def test_a_class_without_images_is_named(tmp_path):
    class_folders(tmp_path)
    (tmp_path / "fish").mkdir()

    with pytest.raises(DataError, match="fish: no images in it"):
        open_dataset(tmp_path)


def test_images_beside_the_split_folders_are_not_silently_left_out(tmp_path):
    class_folders(tmp_path / "train")
    class_folders(tmp_path / "extra")

    with pytest.raises(DataError, match="extra: a folder of images beside train"):
        open_dataset(tmp_path)


def test_a_split_that_lacks_a_class_is_named(tmp_path):
    class_folders(tmp_path / "train")
    class_folders(tmp_path / "test", ("cat",))

    with pytest.raises(DataError, match="no image of dog for test"):
        open_dataset(tmp_path)


def test_hidden_files_and_folders_are_ignored(tmp_path):
    class_folders(tmp_path)
    picture(tmp_path / ".trash" / "0.png")
    picture(tmp_path / "cat" / ".0.png")

    dataset = open_dataset(tmp_path)

    assert dataset.classes == ("cat", "dog")
    assert len(dataset) == 10


def test_no_such_path(tmp_path):
    with pytest.raises(DataError, match="no such file or folder"):
        open_dataset(tmp_path / "nowhere")


def test_an_empty_folder(tmp_path):
    with pytest.raises(DataError, match="empty"):
        open_dataset(tmp_path)


def test_what_is_not_recognised_gets_the_four_forms(tmp_path):
    picture(tmp_path / "photos" / "1.png")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("a")

    for path in (tmp_path / "photos", tmp_path / "photos" / "1.png", tmp_path / "notes"):
        with pytest.raises(DataError) as error:
            open_dataset(path)
        for form in ("Grade.csv", "images.txt", "DIR/CLASS/image.jpg", "image,label"):
            assert form in str(error.value)


def test_one_class_only(tmp_path):
    with pytest.raises(DataError, match=r"only one class .cat."):
        open_dataset(class_folders(tmp_path, ("cat",)))


def test_groups_need_a_table(tmp_path):
    with pytest.raises(UsageError, match=r"group column 'patient'.*CSV"):
        open_dataset(class_folders(tmp_path), group_column="patient")


def test_the_fingerprint_tells_data_apart(tmp_path):
    first = open_dataset(class_folders(tmp_path / "a" / "pets")).fingerprint()
    again = open_dataset(class_folders(tmp_path / "b" / "pets")).fingerprint()
    Image.new("RGB", (64, 64), "red").save(tmp_path / "b" / "pets" / "cat" / "0.png")
    changed = open_dataset(tmp_path / "b" / "pets").fingerprint()

    assert first == again
    assert first.sha256 != changed.sha256
    assert sum(first.images.values()) == 10
