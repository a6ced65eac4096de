"""Bundles on the Hugging Face hub: where the folder of a bundle is, by its path or by the name of its repository."""

import re
from pathlib import Path
from typing import Final

import huggingface_hub
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import validate_repo_id

from cellvit.errors import MissingInputError, SettingsError
from cellvit.formats.bundle import BUNDLE, PARTS

HUB: Final = "hf-hub:"
"""Begin of the name of a bundle on the hub, as timm writes names of models."""

FILES: Final = (BUNDLE, *PARTS)
"""Files of a bundle, as patterns; a repository may have others, which are neither read nor replaced."""

_REPOSITORY: Final = re.compile(r"[^/@\s]+/[^/@\s]+")


def bundle_folder(model: str) -> Path:
    """The folder of a bundle: a path, or `hf-hub:owner/name` with an optional `@revision`, which is downloaded.

    Raises:
        MissingInputError: The repository cannot be downloaded, and is not in the cache of the hub.
        SettingsError: The name is not one of a repository.
    """
    return pull_bundle(model) if model.startswith(HUB) else Path(model)


def pull_bundle(name: str) -> Path:
    """Download a bundle into the cache of the hub, or find it there; its folder, which `read_bundle` then checks.

    HF_HOME, HF_TOKEN and HF_HUB_OFFLINE are respected. Without a network, the version that was downloaded last is used.

    Raises:
        MissingInputError: The repository cannot be downloaded, and is not in the cache of the hub.
        SettingsError: The name is not one of a repository.
    """
    repository, _, revision = name.removeprefix(HUB).partition("@")
    check_repository(repository)
    try:
        return Path(
            huggingface_hub.snapshot_download(repository, revision=revision or None, allow_patterns=list(FILES))
        )
    except (HfHubHTTPError, OSError) as error:
        raise _refusal(name, repository, error) from error


def check_repository(repository: str) -> None:
    """Refuse what is not the name of a repository.

    Raises:
        SettingsError: It is not owner/name in the letters that the hub allows.
    """
    try:
        if not _REPOSITORY.fullmatch(repository):
            raise HFValidationError("it must be owner/name")
        validate_repo_id(repository)
    except HFValidationError as error:
        raise SettingsError(
            f"{repository!r}: expected the name of a repository of the Hugging Face hub, as owner/name, found: {error}"
        ) from error


def _refusal(name: str, repository: str, error: Exception) -> MissingInputError:
    page = f"https://huggingface.co/{repository}"
    if isinstance(error, LocalEntryNotFoundError | OfflineModeIsEnabled):
        return MissingInputError(
            f"{name}: the bundle is not in the local cache of the Hugging Face hub, and the hub cannot be reached (no network, "
            "or HF_HUB_OFFLINE is set).\nFix: download it where there is a network (hf download "
            f"{repository}), and set HF_HOME to that cache, or copy the folder and give its path"
        )
    if isinstance(error, RevisionNotFoundError):
        return MissingInputError(
            f"{name}: there is no such revision. Fix: see the branches and tags on {page}/tree/main"
        )
    if isinstance(error, RepositoryNotFoundError):
        return MissingInputError(
            f"{name}: there is no such repository, or it is private and this account has no access. "
            f"Fix: open {page}, request access, and log in: hf auth login"
        )
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return MissingInputError(f"{name}: the bundle cannot be downloaded: {reason}. Fix: open {page}, then try again")
