"""Command `push`: upload a bundle to the Hugging Face hub.

Example: cellvit push results/bundles/final owner/name --dry-run
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import huggingface_hub
from huggingface_hub.errors import BadRequestError, HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled

from cellvit.errors import ContractError, MissingInputError
from cellvit.formats.bundle import BUNDLE, Bundle, read_bundle
from cellvit.formats.bundle_hub import FILES, HUB, check_repository

_EPILOG: Final = """\
examples:
  cellvit push results/bundles/final owner/name --dry-run
      check the bundle, and list what would be uploaded; needs no network and no account
  cellvit push results/bundles/final owner/name --private
      create the private repository owner/name if it does not exist, and upload the bundle

Log in first: hf auth login, or set HF_TOKEN to a token with write access. Others then use the bundle by its name:
  cellvit predict IMAGE --model hf-hub:owner/name
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.formatter_class, parser.epilog = argparse.RawDescriptionHelpFormatter, _EPILOG
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="folder that snakemake bundle wrote")
    parser.add_argument("repository", metavar="OWNER/NAME", help="repository of the hub; made if it does not exist")
    parser.add_argument("--private", action="store_true", help="make a new repository private")
    parser.add_argument("--dry-run", action="store_true", help="check and list everything, and upload nothing")


def run(args: argparse.Namespace) -> None:
    """Check the bundle, print what is uploaded, and upload it.

    Raises:
        SettingsError: The name of the repository is not valid.
        MissingInputError: There is no bundle, or the hub refuses the upload.
        ContractError: A file of the bundle is not as it lists it, or the hub refuses the model card.
        IntegrityError: A file of the bundle was changed.
    """
    check_repository(args.repository)
    bundle = read_bundle(args.bundle)
    sys.stdout.writelines(_plan(bundle, args.repository, private=args.private))
    if args.dry_run:
        sys.stdout.write("Dry run: nothing was uploaded.\n")
        return
    sys.stdout.write(f"Uploaded: {_upload(bundle, args.repository, private=args.private)}\n")


def _plan(bundle: Bundle, repository: str, *, private: bool) -> Iterator[str]:
    """What is uploaded, one line each."""
    document = bundle.document
    kind = "private" if private else "public, if it is new"
    yield f"Repository: {HUB}{repository} ({kind})\n"
    yield f"Bundle:     {document.name} ({bundle.digest[:12]})\n"
    if document.provenance.marks:
        yield f"Marks:      {', '.join(document.provenance.marks)}\n"
    yield f"Licence:    {document.licence}\n"
    sizes = {name: (bundle.folder / name).stat().st_size for name in [BUNDLE, *document.files]}
    for name, size in sizes.items():
        yield f"{size / 1e6:12.3f} MB  {name}\n"
    yield f"{sum(sizes.values()) / 1e6:12.3f} MB  in {len(sizes)} files\n"


def _upload(bundle: Bundle, repository: str, *, private: bool) -> str:
    """Upload exactly the files of the bundle, and remove those of an earlier one; the address of the repository."""
    try:
        address = huggingface_hub.create_repo(repository, private=private or None, exist_ok=True)
        huggingface_hub.upload_folder(
            repo_id=repository,
            folder_path=bundle.folder,
            allow_patterns=[BUNDLE, *bundle.document.files],
            delete_patterns=list(FILES),
            commit_message=f"Upload {bundle.document.name}",
        )
    except BadRequestError as error:
        raise ContractError(f"{repository}: the hub refused the upload: {error}") from error
    except (HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled, OSError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise MissingInputError(
            f"{repository}: the bundle could not be uploaded: {reason}.\nFix: check the network, unset HF_HUB_OFFLINE, and log "
            "in with a token that may write to this repository: hf auth login"
        ) from error
    except ValueError as error:  # of the check of the model card
        raise ContractError(f"{bundle.folder}: {error}. Fix: snakemake --forcerun gather_bundle -- bundle") from error
    return str(address)
