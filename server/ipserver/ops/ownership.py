"""Ownership of artifacts: a mark in the folder or bucket names the store that they belong to."""

from __future__ import annotations

import logging

from ipserver.artifacts import ArtifactStore, open_artifacts
from ipserver.environment.settings import Settings
from ipserver.errors import ArtifactsUnavailable, StartupError
from ipserver.store import Store

_log = logging.getLogger(__name__)

# File in the artifact root with the id of the store that the artifacts belong to.
MARK = ".iplab-store"


def settle_artifacts(store: Store, settings: Settings, *, write: bool) -> None:
    """Check that the artifact root belongs to this store; claim it if it belongs to none.

    A file in the root holds the store's id, and the store holds the root that it was first used with. This
    detects parts with different stores on one root and parts with different roots on one store. Mounted
    folders may have different paths on different machines, so the file decides, not the path.

    Raises:
        ArtifactsUnavailable: The root cannot be reached or, if `write`, not written.
        StartupError: It belongs to another store, or the store's artifacts are in another root.
    """
    root = settings.artifact_root
    if root.folder is not None:
        try:
            root.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ArtifactsUnavailable(f"cannot create the folder {root}: {error.strerror}") from None
    files = open_artifacts(root)
    files.check(write=write)
    shown = store.database.shown
    marked = check_owner(store, settings, files)
    if not marked:
        _write_mark(files, str(root), store.identity().uid)
    claimed = store.claim_artifacts(root.url).artifact_root
    if claimed != root.url:
        if not marked:
            files.delete([MARK])  # another part claimed another root first
            raise _elsewhere(str(root), shown, claimed)
        _log.info("the artifacts of this store were first at %s, now at %s", claimed, root.url)


def check_owner(store: Store, settings: Settings, files: ArtifactStore) -> bool:
    """Whether the artifacts are marked as this store's; False if neither has an owner or root recorded yet.

    Raises:
        ArtifactsUnavailable: The artifacts cannot be reached.
        StartupError: They belong to another store, or the store's artifacts are in another root.
    """
    root, shown, identity = settings.artifact_root, store.database.shown, store.identity()
    mark = _read_mark(files)
    if mark not in {"", identity.uid}:
        raise StartupError(
            f"IPLAB_ARTIFACTS: {root} belongs to another store (id {mark}) than IPLAB_STORE, {shown} "
            f"(id {identity.uid}). Use the same artifacts and store for all parts of a service; if the other "
            f"store no longer exists, remove {MARK} there"
        )
    if not mark and identity.artifact_root:
        if identity.artifact_root == root.url:
            raise _emptied(str(root), shown, identity.uid)
        raise _elsewhere(str(root), shown, identity.artifact_root)
    return bool(mark)


def _emptied(root: str, shown: str, uid: str) -> StartupError:
    return StartupError(
        f"IPLAB_ARTIFACTS: the store {shown} keeps its artifacts at {root}, but {MARK} is missing there "
        f"(is the folder mounted?). Restore the files; if they are lost, write {uid} into a file {MARK} "
        "there: unfinished runs then train again from their start, and weights of finished ones are lost"
    )


def _elsewhere(root: str, shown: str, claimed: str) -> StartupError:
    return StartupError(
        f"IPLAB_ARTIFACTS: the store {shown} keeps its artifacts at {claimed}, not at {root}. Use the same "
        "artifacts for all parts of a service (is the folder mounted?); if they were moved here, move "
        f"{MARK} too"
    )


def _read_mark(files: ArtifactStore) -> str:
    """Id of the store that the artifacts belong to; "" if they belong to none yet."""
    if files.size(MARK) is None:
        return ""
    return b"".join(files.chunks(MARK)).decode(errors="replace").partition("\n")[0].strip()


def _write_mark(files: ArtifactStore, root: str, uid: str) -> None:
    text = f"{uid}\nThe id of the iplab store that these artifacts belong to. Keep this file with them.\n"
    try:
        files.put(MARK, lambda path: path.write_text(text))
    except OSError as error:
        raise ArtifactsUnavailable(
            f"{root} has no {MARK} yet, and it cannot be written: {error.strerror}; a dispatcher writes it "
            "at its first start"
        ) from None
