"""A CSV as a data set."""

from __future__ import annotations

from pathlib import Path

import pytest
from dataset_files import by_name, class_folders, truth

from wsol_deploy.datasets import open_dataset
from wsol_deploy.errors import DataError

SHARED = Path(__file__).parents[2] / "shared" / "data"


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
