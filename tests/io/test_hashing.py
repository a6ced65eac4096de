import os

from cellvit.formats.digests import combined, remembered_sha256, sha256_of


def test_an_untouched_file_is_not_read_again(tmp_path, monkeypatch):
    path, memory = tmp_path / "a.npy", tmp_path / "memory.json"
    path.write_bytes(b"one")
    first = remembered_sha256([path], memory)

    monkeypatch.setattr("cellvit.io.hashing.sha256_of", lambda _: "read again")

    assert remembered_sha256([path], memory) == first == {str(path): sha256_of(path)}


def test_a_touched_file_keeps_its_hash(tmp_path):
    path, memory = tmp_path / "a.npy", tmp_path / "memory.json"
    path.write_bytes(b"one")
    first = remembered_sha256([path], memory)

    os.utime(path, (2e9, 2e9))

    assert remembered_sha256([path], memory) == first


def test_content_replaced_with_its_time_kept_is_noticed(tmp_path):
    path, memory = tmp_path / "a.npy", tmp_path / "memory.json"
    path.write_bytes(b"one")
    first = remembered_sha256([path], memory)
    status = path.stat()

    path.write_bytes(b"two")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    assert remembered_sha256([path], memory) != first


def test_the_combined_hash_does_not_depend_on_order():
    assert combined({"a": "1", "b": "2"}) == combined({"b": "2", "a": "1"}) != combined({"a": "2", "b": "1"})
