from pathlib import Path

import pytest

from medgraph.data.paths import PathIndex, canonical, safe_relative

ROOT = Path("/data/root")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("med-mat/a/b.png", "med-mat/a/b.png"),
        ("./med-mat//a/../a/b.png", "med-mat/a/b.png"),
        ("med-mat\\a\\b (1).png", "med-mat/a/b (1).png"),
        ("/data/root/med-mat/b.png", "med-mat/b.png"),
        ("/home/x/med-mat/b.png", "med-mat/b.png"),
        ("C:\\x\\med-mat\\b.png", "med-mat/b.png"),
    ],
)
def test_paths_become_relative(path, expected):
    assert safe_relative(path, ROOT) == expected


@pytest.mark.parametrize("path", ["../b.png", "a/../../b.png", "/etc/passwd", "", ".", "/x/med-mat/../../etc/passwd"])
def test_paths_that_leave_the_root_are_refused(path):
    with pytest.raises(ValueError, match=r"outside|leaves|empty"):
        safe_relative(path, ROOT)


def test_known_differences_vanish():
    assert canonical("A_b/A_b/Kindney  x.PNG") == "a b/kidney x.png"
    assert canonical("a/b/a.png") == "a/b/a.png"


@pytest.fixture
def index(tmp_path):
    for name in ("set/CT_Kidney/Cyst/Cyst- (1).jpg", "set/other/unique.png", "set/x/twice.png", "set/y/twice.png"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")
    return PathIndex(tmp_path)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("set/CT_Kidney/Cyst/Cyst- (1).jpg", "set/CT_Kidney/Cyst/Cyst- (1).jpg"),
        ("SET/CT_Kindney/CT_Kindney/cyst/Cyst-  (1).JPG", "set/CT_Kidney/Cyst/Cyst- (1).jpg"),  # case, typo, doubled
        ("elsewhere/deep/unique.png", "set/other/unique.png"),  # moved: the only file of this name
        ("elsewhere/twice.png", None),  # two files of this name: no guess
        ("set/nothing.png", None),
    ],
)
def test_finding_files(index, path, found):
    assert index.find(path) == found


def test_finding_never_leaves_the_root(index):
    with pytest.raises(ValueError, match="leaves"):
        index.find("../secret.png")


def test_a_symbolic_link_below_the_root_is_followed(tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "a.png").write_bytes(b"x")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link").symlink_to(tmp_path / "store", target_is_directory=True)
    assert PathIndex(tmp_path / "root").find("link/a.png") == "link/a.png"
    assert PathIndex(tmp_path / "root").find("gone/A.png") == "link/a.png"
