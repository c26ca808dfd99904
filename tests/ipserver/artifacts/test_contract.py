"""The contract of artifact stores, on a folder and on a real S3 server over a socket."""

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from ipserver.artifacts import CHUNK_BYTES, open_artifacts
from ipserver.environment.artifact_root import ArtifactRoot
from ipserver.errors import ArtifactDamaged

PLACE = "e/weights/p0000/1/r00000-final.safetensors"


@pytest.fixture(params=["folder", "s3"])
def root(request, tmp_path):
    if request.param == "folder":
        (tmp_path / "artifacts").mkdir()
        return ArtifactRoot(str(tmp_path / "artifacts"))
    return request.getfixturevalue("s3").root()


@pytest.fixture
def files(root):
    return open_artifacts(root)


def content(size, seed=0):
    block = hashlib.shake_256(bytes([seed])).digest(4096)
    return (block * (size // len(block) + 1))[:size]


def writes(data):
    return lambda path: path.write_bytes(data)


def whole(files, location):
    return b"".join(files.chunks(location))


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES, 9 * CHUNK_BYTES + 5])
def test_what_is_put_is_there(files, size):
    data = content(size)

    stored = files.put(PLACE, writes(data))

    assert (stored.size_bytes, stored.sha256) == (size, hashlib.sha256(data).hexdigest())
    assert files.size(PLACE) == size
    assert whole(files, PLACE) == data
    with files.reading(PLACE, stored.sha256) as path:
        assert path.read_bytes() == data


def test_a_file_larger_than_one_upload_request(files):
    data = content(110 * 2**20)

    stored = files.put(PLACE, writes(data))

    assert stored.sha256 == hashlib.sha256(data).hexdigest()
    with files.reading(PLACE, stored.sha256) as path:
        assert path.stat().st_size == len(data)


@pytest.mark.parametrize(
    "offset", [0, 1, CHUNK_BYTES, 8 * CHUNK_BYTES - 1, 8 * CHUNK_BYTES + 1, 9 * CHUNK_BYTES]
)
def test_reading_from_any_place_in_bounded_chunks(files, offset):
    data = content(9 * CHUNK_BYTES)
    files.put(PLACE, writes(data))

    chunks = list(files.chunks(PLACE, offset))

    assert b"".join(chunks) == data[offset:]
    assert all(0 < len(chunk) <= CHUNK_BYTES for chunk in chunks)


def test_a_put_takes_the_place_of_an_older_one(files):
    files.put(PLACE, writes(b"old and long"))
    files.put(PLACE, writes(b"new"))

    assert whole(files, PLACE) == b"new"


def test_a_write_that_fails_leaves_the_older_file(files):
    files.put(PLACE, writes(b"old"))

    def half(path):
        path.write_bytes(b"half of ")
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        files.put(PLACE, half)

    assert whole(files, PLACE) == b"old"


def test_a_write_that_fails_leaves_nothing(files):
    def nothing(path):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        files.put(PLACE, nothing)

    assert files.size(PLACE) is None


def test_readers_see_one_file_or_the_other(files):
    """A reader sees only whole files while a writer replaces the file repeatedly."""
    versions = {hashlib.sha256(content(200_000, seed)).hexdigest(): seed for seed in (1, 2)}
    files.put(PLACE, writes(content(200_000, 1)))
    ended = threading.Event()

    def replace():
        for turn in range(20):
            files.put(PLACE, writes(content(200_000, 1 + turn % 2)))
        ended.set()

    with ThreadPoolExecutor(1) as pool:
        writer = pool.submit(replace)
        seen = 0
        while not ended.is_set() or not seen:
            assert hashlib.sha256(whole(files, PLACE)).hexdigest() in versions
            seen += 1
        writer.result()


def test_a_missing_file(files):
    assert files.size(PLACE) is None
    with pytest.raises(ArtifactDamaged, match=r"final\.safetensors"):
        whole(files, PLACE)
    with pytest.raises(ArtifactDamaged, match=r"final\.safetensors"), files.reading(PLACE, "0" * 64):
        pass


def test_a_folder_is_no_file(files):
    files.put(PLACE, writes(b"x"))

    assert files.size("e/r00000") is None


def test_another_checksum_is_damage(files):
    files.put(PLACE, writes(b"something else"))

    with (
        pytest.raises(ArtifactDamaged, match="does not have its recorded checksum"),
        files.reading(PLACE, hashlib.sha256(b"something").hexdigest()),
    ):
        pass


def test_delete_removes_these_files_alone(files):
    for name in ("a", "b", "c"):
        files.put(f"e/checkpoints/p/1/{name}", writes(b"x"))

    files.delete(["e/checkpoints/p/1/a", "e/checkpoints/p/1/b", "e/checkpoints/p/1/never-there"])
    files.delete([])

    assert [files.size(f"e/checkpoints/p/1/{name}") for name in "abc"] == [None, None, 1]


def test_delete_folder_removes_what_is_below_alone(files):
    for location in ("e/checkpoints/p1/1/a", "e/checkpoints/p1/2/b", "e/checkpoints/p10/1/a", PLACE):
        files.put(location, writes(b"x"))

    files.delete_folder("e/checkpoints/p1")
    files.delete_folder("e/checkpoints/never-there")

    assert files.size("e/checkpoints/p1/1/a") is None
    assert files.size("e/checkpoints/p1/2/b") is None
    assert files.size("e/checkpoints/p10/1/a") == 1
    assert files.size(PLACE) == 1


def test_below_names_every_file_there(files):
    for location in ("e/checkpoints/p1/1/a", "e/checkpoints/p1/2/b", "e/checkpoints/p10/1/a", PLACE):
        files.put(location, writes(b"x"))

    assert sorted(files.below("e/checkpoints/p1")) == ["e/checkpoints/p1/1/a", "e/checkpoints/p1/2/b"]
    assert sorted(files.below("e"))[-1] == PLACE
    assert list(files.below("never-there")) == []


def test_delete_empty_removes_no_file(files):
    files.put("e/r00000/1/weights/a", writes(b"x"))
    files.put("e/r00000/2/weights/b", writes(b"x"))
    files.delete(["e/r00000/1/weights/a"])

    files.delete_empty("e/r00000")
    files.delete_empty("never-there")

    assert list(files.below("e")) == ["e/r00000/2/weights/b"]


@pytest.mark.parametrize("location", ["../iplab.db", "e/../../iplab.db", "/etc/passwd"])
def test_a_location_outside_the_root_is_refused(files, location):
    outside = "outside the artifact"
    with pytest.raises(ArtifactDamaged, match=outside):
        files.size(location)
    with pytest.raises(ArtifactDamaged, match=outside):
        whole(files, location)
    with pytest.raises(ArtifactDamaged, match=outside):
        files.put(location, writes(b"x"))
    with pytest.raises(ArtifactDamaged, match=outside):
        files.delete([location])
    with pytest.raises(ArtifactDamaged, match=outside):
        files.delete_folder(location)


def test_check_leaves_nothing_behind(files, root, request):
    files.check(write=True)

    if root.folder is not None:
        assert list(root.folder.iterdir()) == []
    else:
        assert request.getfixturevalue("s3").keys(root) == []


def test_many_threads_share_a_store(files):
    def turn(number):
        location = f"e/r{number:05d}/1/weights/final.safetensors"
        data = content(10_000, number)
        stored = files.put(location, writes(data))
        return whole(files, location) == data and stored.size_bytes == 10_000

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(turn, range(16)))
