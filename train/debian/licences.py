"""Which licence a file of a Debian package has, by its debian/copyright."""

import fnmatch
import re
from dataclasses import dataclass

_SPDX = {
    "CC0": "CC0-1.0",
    "GPL-2": "GPL-2.0-only",
    "GPL-2+": "GPL-2.0-or-later",
    "GPL-3": "GPL-3.0-only",
    "GPL-3+": "GPL-3.0-or-later",
    "GFDL-1.3": "GFDL-1.3-only",
}


@dataclass(frozen=True, slots=True)
class Stanza:
    """Files and their licence."""

    pattern: re.Pattern[str]
    weight: int
    """Characters of the glob that are not wildcards: the more there are, the more it means this very file."""
    licence: str


def stanzas(copyright_text: str) -> list[Stanza]:
    """The ``Files:`` paragraphs of a machine-readable debian/copyright (DEP-5), in order; none of any other text."""
    if not re.match(r"\s*Format(-Specification)?:\s*\S*copyright", copyright_text):
        return []
    found = []
    for paragraph in re.split(r"\n\s*\n", copyright_text):
        fields: dict[str, str] = {}
        key = ""
        for line in paragraph.splitlines():
            field = re.match(r"^([A-Za-z-]+):\s*(.*)$", line)
            if field:
                key = field.group(1).lower()
                fields[key] = field.group(2)
            elif key == "files":
                fields[key] += " " + line.strip()
        licence = re.sub(r"\s+", " ", fields.get("license", "")).strip()
        if licence:
            for glob in fields.get("files", "").replace(",", " ").split():
                found += [_stanza(variant, licence) for variant in _variants(glob)]
    return found


def licence_of(known: list[Stanza], member: str, default: str) -> str:
    """Licence of a file: of the most specific stanza that matches, the last of equals.

    Installed paths differ from the source's, so a glob may match any end of the path.
    """
    parts = [part for part in member.split("/") if part != "games"]
    ends = ["/".join(parts[i:]) for i in range(len(parts))]
    licence, best = default, -1
    for stanza in known:
        if stanza.weight >= best and any(stanza.pattern.match(end) for end in ends):
            licence, best = stanza.licence, stanza.weight
    return licence


def _variants(glob: str) -> list[str]:
    """The glob, and the folder that a drum kit's archive is shipped as."""
    return [glob, glob.removesuffix(".h2drumkit") + "/*"] if glob.endswith(".h2drumkit") else [glob]


def _stanza(glob: str, licence: str) -> Stanza:
    pattern = re.compile(fnmatch.translate(glob.replace("[", "[[]")))
    return Stanza(pattern, len(re.sub(r"[*?]", "", glob)), _SPDX.get(licence, licence))
