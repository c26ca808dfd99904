"""Files of the parts: rotation of logs."""

import errno

from ipserver.ops import places


def test_a_log_that_finds_no_room_for_its_copy_is_emptied(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(places, "LOG_BYTES", 10)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(places.shutil, "copyfile", full)
    log = tmp_path / "api.log"
    log.write_text("x" * 11)

    places.rotate_log(log)

    assert log.read_text() == ""
    assert "api.log was emptied, since it could not be rotated: No space left on device" in caplog.text
    places.rotate_log(tmp_path / "missing.log")
