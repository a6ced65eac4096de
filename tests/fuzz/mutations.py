"""Mutations of files: what disks, downloads, editors and hostile people do to bytes."""

import re
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

_BLOCK_BYTES: Final = 4096
"""Longest block that a mutation zeroes, swaps or adds: a page of a disk."""

_SIZES: Final = (2**16 - 1, 2**31 - 1, 2**32 - 1, 10**12, 2**63 - 1, 2**64 - 1)
"""Numbers that a damaged header claims as sizes or offsets."""

_TOKEN: Final = re.compile(
    rb'"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?|\b(?:true|false|null|NaN)\b|[\w.#/-]{2,}'
)
"""A value or a word of JSON, YAML, CSV, XML or HTML."""

_VALUES: Final = (
    *(b"", b"null", b"true", b"-1", b"0", b"1e400", b"NaN", b"1" + b"0" * 400, b"0.5", b'""', b'"text"', b"=1+1"),
    *(
        b"[]",
        b"{}",
        b"[[]]",
        b"[null]",
        b'{"": 1}',
        b'"\\ud800"',
        b"\xff\xfe",
        b"\x00",
        b"&a",
        b"*a",
        b"!!python/none",
        b"<a>",
    ),
)
"""Values of other types, out of range, or in another encoding, in place of one of the file's own."""

_DEPTH: Final = 20_000

_DEEP: Final = tuple(sign * _DEPTH for sign in (b"[", b"{", b'{"a":', b"<a>", b"(", b"- "))
"""Nesting that no recursive parser survives."""

KINDS: Final = (
    *("flipped bits", "truncated", "zeroed block", "garbage appended", "chunks swapped", "huge size", "other value"),
    *("deep nesting", "line repeated", "empty", "a folder", "a dangling link", "another file's bytes"),
)
"""Names of the mutations, as docs/reliability.md counts them."""

_OTHERS: Final = (
    b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 12345\n",
    b"\x89HDF\r\n\x1a\n",
    b"\x93NUMPY\x01\x00",
    b"PK\x03\x04",
    b"\x80\x04N.",
    b"II*\x00\x08\x00\x00\x00",
    b"{}",
)
"""First bytes of what lies under the name of another file after a failed download or a wrong name."""


class Mutation(NamedTuple):
    """What stands in place of a file: other bytes, or something that is no file (no content)."""

    kind: str
    content: bytes = b""

    def apply(self, path: Path) -> None:
        """Replace the file, or what an earlier mutation left there."""
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        path.unlink(missing_ok=True)
        match self.kind:
            case "a folder":
                path.mkdir()
            case "a dangling link":
                path.symlink_to(path.with_name("nothing"))
            case _:
                path.write_bytes(self.content)


def mutation_of(content: bytes, rng: Random) -> Mutation:
    """One mutation of a file with this content, by random numbers; half of the places are in its first page."""
    kind = rng.choice(KINDS)
    at = rng.randrange(max(1, min(len(content), _BLOCK_BYTES) if rng.random() < 0.5 else len(content)))
    length = rng.choice((1, 8, 64, 512, _BLOCK_BYTES))
    match kind:
        case "flipped bits":
            return Mutation(kind, _flipped(content, [at, *rng.choices(range(len(content)), k=rng.randrange(8))], rng))
        case "truncated":
            return Mutation(kind, content[:at])
        case "zeroed block":
            return Mutation(kind, content[:at] + bytes(len(content[at : at + length])) + content[at + length :])
        case "garbage appended":
            return Mutation(kind, content + rng.randbytes(length))
        case "chunks swapped":
            first, second = content[at : at + length], content[at + length : at + 2 * length]
            return Mutation(kind, content[:at] + second + first + content[at + 2 * length :])
        case "huge size":
            size = rng.choice(_SIZES)
            width = rng.choice([width for width in (2, 4, 8) if size < 2 ** (8 * width)])
            return Mutation(
                kind, content[:at] + size.to_bytes(width, rng.choice(("little", "big"))) + content[at + width :]
            )
        case "other value":
            return Mutation(kind, _replaced(content, at, rng.choice(_VALUES)))
        case "deep nesting":
            return Mutation(kind, _replaced(content, at, rng.choice(_DEEP)))
        case "line repeated":
            start, end = content.rfind(b"\n", 0, at) + 1, content.find(b"\n", at) + 1 or len(content)
            return Mutation(kind, content[:end] + content[start:end] + content[end:])
        case "another file's bytes":
            return Mutation(kind, rng.choice(_OTHERS) + content[at:])
    return Mutation(kind)


def _flipped(content: bytes, places: list[int], rng: Random) -> bytes:
    changed = bytearray(content)
    for place in places:
        changed[place] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _replaced(content: bytes, at: int, value: bytes) -> bytes:
    """The value in place of the first token from `at` on, or before it where none follows."""
    found = _TOKEN.search(content, at) or _TOKEN.search(content)
    if found is None:
        return content[:at] + value + content[at:]
    return content[: found.start()] + value + content[found.end() :]
