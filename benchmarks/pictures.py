"""Take the two pictures of the README again, from the results of `make demo`; needs chromium.

python benchmarks/pictures.py --results results/demo
"""

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from PIL import Image

MAX_BYTES: Final = 150_000
"""Of a picture in the repository, so that a clone stays small (decision)."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("results/demo"), help="output folder of the demo")
    parser.add_argument(
        "--out", type=Path, default=Path("docs/images"), help="where report.jpg and overlay.jpg are written"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "report.png"
        take(args.results / "report" / "index.html", shot)
        write_jpeg(shot, args.out / "report.jpg")
    write_jpeg(args.results / "predictions" / "demo_slide" / "overlay.png", args.out / "overlay.jpg")


def take(page: Path, shot: Path) -> None:
    """Take a picture of the top of a page."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        raise SystemExit("chromium is not installed. Fix: install it, for example with: apt install chromium")
    options = ["--headless", "--no-sandbox", "--hide-scrollbars", "--window-size=1200,1200", f"--screenshot={shot}"]
    subprocess.run([browser, *options, page.resolve().as_uri()], check=True, capture_output=True)


def write_jpeg(source: Path, target: Path) -> None:
    """Write a picture as JPEG, as sharp as fits into the limit."""
    picture = Image.open(source).convert("RGB")
    picture.thumbnail((900, 1200))
    target.parent.mkdir(parents=True, exist_ok=True)
    for quality in range(90, 10, -5):
        picture.save(target, quality=quality, optimize=True)
        if target.stat().st_size <= MAX_BYTES:
            print(f"{target}: {target.stat().st_size / 1000:.0f} KB, quality {quality}")
            return
    raise SystemExit(f"{target}: larger than {MAX_BYTES} bytes at any quality")


if __name__ == "__main__":
    main()
