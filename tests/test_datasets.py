"""Recognising and reading the four forms of data, and refusing what cannot be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsol_deploy.datasets import open_dataset
from wsol_deploy.errors import DataError, UsageError

SHARED = Path(__file__).parents[2] / "shared" / "data"


def picture(path: Path, value: int = 128) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8, 3), value, np.uint8)).save(path)
    return path


def truth(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.eye(8, dtype=np.uint8) * 255).save(path)
    return path


def class_folders(root: Path, classes: tuple[str, ...] = ("cat", "dog"), count: int = 5) -> Path:
    for label in classes:
        for index in range(count):
            picture(root / label / f"{index}.png")
    return root


def by_name(dataset):
    return {sample.name: sample for sample in dataset.samples}


# Folder per class


def test_a_folder_per_class_gives_sorted_classes_and_relative_names(tmp_path):
    dataset = open_dataset(class_folders(tmp_path / "pets", ("dog", "cat")))

    assert dataset.name == "pets"
    assert dataset.classes == ("cat", "dog")
    assert len(dataset) == 10
    assert by_name(dataset)["dog/3.png"].label == 1
    assert by_name(dataset)["dog/3.png"].read_image().shape == (8, 8, 3)
    assert not dataset.has_masks


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
    assert not dataset.has_masks


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


# CSV


@pytest.fixture
def files(tmp_path) -> Path:
    class_folders(tmp_path / "files")
    truth(tmp_path / "truth" / "0.png")
    return tmp_path


def table(root: Path, content: str) -> Path:
    path = root / "list.csv"
    path.write_bytes(content.encode())
    return path


LINES = "".join(
    f"files/{label}/{index}.png,{label}\n" for label in ("cat", "dog") for index in (0, 1, 2)
)


def test_a_csv_of_images_and_labels(files):
    dataset = open_dataset(table(files, "image,label\n" + LINES))

    assert dataset.name == "list"
    assert dataset.root == files
    assert dataset.classes == ("cat", "dog")
    assert by_name(dataset)["files/dog/2.png"].label == 1


def test_a_csv_with_everything_and_the_quirks_of_spreadsheets(files):
    path = table(
        files,
        "\ufeffimage, label ,mask,split,group\r\n"
        'files/cat/0.png,"cat, small",truth/0.png,train,p1\r\n\r\n'
        "./files/dog/0.png, dog ,,Train,p1\r\n"
        'files/cat/1.png,"cat, small",,val,p2\r\nfiles/dog/1.png,dog,,validation,p2\r\n'
        'files/cat/2.png,"cat, small",,test,p3\r\nfiles/dog/2.png,dog,,test,p3\r\n',
    )

    dataset = open_dataset(path)

    assert dataset.classes == ("cat, small", "dog")
    first = by_name(dataset)["files/cat/0.png"]
    assert first.mask == files / "truth" / "0.png"
    assert (first.split, first.group) == ("train", "p1")
    assert by_name(dataset)["files/dog/0.png"].mask is None
    assert [len(dataset.subset(split)) for split in ("train", "valid", "test")] == [2, 2, 2]


def test_images_outside_the_csv_s_folder_keep_a_relative_name(files):
    path = table(files / "truth", "image,label\n" + LINES.replace("files/", "../files/"))

    names = [sample.name for sample in open_dataset(path).samples]

    assert all(not Path(name).is_absolute() and ".." not in name for name in names)


def test_the_group_column_may_have_any_name(files):
    lines = "".join(f"files/{c}/{i}.png,{c},p{i}\n" for c in ("cat", "dog") for i in range(3))
    path = table(files, "image,label,patient ID\n" + lines)

    dataset = open_dataset(path, group_column="patient ID")

    assert {sample.group for sample in dataset.samples} == {"p0", "p1", "p2"}
    for group in ("p0", "p1", "p2"):
        assert len({sample.split for sample in dataset.samples if sample.group == group}) == 1


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "empty"),
        ("image,label\n", "no images"),
        ("image,label,colour\n" + LINES, "unknown column 'colour'.*image,label"),
        ("image,class\nfiles/cat/0.png,cat\n", "unknown column 'class', no column 'label'"),
        ("image,label\nfiles/cat/9.png,cat\n", "line 2: no such image: files/cat/9.png"),
        ("image,label\nfiles/cat/0.png,\n", "line 2: no label"),
        ("image,label\n,cat\n", "line 2: no image"),
        ("image,label\nfiles/cat/0.png\n", "line 2: no label"),
        ("image,label\nfiles/cat/0.png,cat,x\n", "line 2: 3 values for 2 columns"),
        ("image,label,mask\nfiles/cat/0.png,cat,truth/9.png\n", "line 2: no such mask: truth/9"),
        ("image,label,split\nfiles/cat/0.png,cat,holdout\n", "line 2: no such split: 'holdout'"),
        ("image,label,split\nfiles/cat/0.png,cat,\n", "line 2: no split"),
        ("image,label\n" + LINES + "./files/../files/cat/0.png,dog\n", "files/cat/0.png is listed"),
        ("image,label\nfiles/cat/0.png,cat\nfiles/cat/1.png,cat\n", "only one class .cat."),
    ],
)
def test_a_broken_csv_is_one_line_that_says_where(files, content, complaint):
    with pytest.raises(DataError, match=complaint) as error:
        open_dataset(table(files, content))

    assert "list.csv" in str(error.value) or str(files) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_csv_in_another_encoding_is_refused(files):
    path = files / "list.csv"
    path.write_bytes("image,label\nfiles/cat/0.png,Drüse\n".encode("latin-1"))

    with pytest.raises(DataError, match="not UTF-8"):
        open_dataset(path)


def test_a_missing_group_column_is_named(files):
    with pytest.raises(DataError, match="no column 'patient'"):
        open_dataset(table(files, "image,label\n" + LINES), group_column="patient")


def test_a_missing_group_value_is_named(files):
    path = table(files, "image,label,patient\nfiles/cat/0.png,cat,\n")

    with pytest.raises(DataError, match="line 2: no patient"):
        open_dataset(path, group_column="patient")


def test_a_group_that_the_csv_puts_into_two_splits_is_refused(files):
    path = table(
        files,
        "image,label,split,group\n"
        "files/cat/0.png,cat,train,p1\nfiles/dog/0.png,dog,train,p1\n"
        "files/cat/1.png,cat,test,p1\nfiles/dog/1.png,dog,test,p2\n",
    )

    with pytest.raises(DataError, match="group 'p1' lies in test and train"):
        open_dataset(path, valid_fraction=0)


# What is no data set


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


# The fingerprint


def test_the_fingerprint_tells_data_apart(tmp_path):
    first = open_dataset(class_folders(tmp_path / "a" / "pets")).fingerprint()
    again = open_dataset(class_folders(tmp_path / "b" / "pets")).fingerprint()
    Image.new("RGB", (64, 64), "red").save(tmp_path / "b" / "pets" / "cat" / "0.png")
    changed = open_dataset(tmp_path / "b" / "pets").fingerprint()

    assert first == again
    assert first.sha256 != changed.sha256
    assert sum(first.images.values()) == 10


# GlaS


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
    assert dataset.has_masks
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
    assert dataset.has_masks
    assert len(dataset.subset("test")) == 80
    assert sum(sample.label == 0 for sample in dataset.samples) == 74
    sample = dataset.samples[0]
    assert sample.read_image().shape[:2] == sample.read_mask().shape


@pytest.mark.skipif(not (SHARED / "animals").is_dir(), reason="../shared/data/animals is not here")
def test_the_real_animals():
    dataset = open_dataset(SHARED / "animals")

    assert dataset.classes == ("capybara", "kangaroo", "raccoon")
    assert len(dataset) == 559
    assert dataset.has_boxes
    assert sum(len(sample.boxes) for sample in dataset.samples) == 812


# CUB-200-2011


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
    assert dataset.has_masks
    sample = by_name(dataset)["019.Gray_Catbird/Gray_Catbird_0000_19000.jpg"]
    assert (sample.label, sample.split) == (1, "test")
    assert sample.boxes == ((1, 2, 4, 6),)


def test_cub_may_be_named_by_its_parent_with_segmentations_beside(tmp_path):
    cub(tmp_path / "CUB_200_2011", masks="../segmentations")

    dataset = open_dataset(tmp_path)

    assert len(dataset) == 12
    assert dataset.has_masks


def test_cub_without_segmentations_has_no_masks(tmp_path):
    assert not open_dataset(cub(tmp_path, masks=None)).has_masks


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
