"""Which parts of a text must nobody read?"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

Mask = Callable[[str], str]

HIDDEN = "***"

SHORTEST_SECRET = 6

_SECRET_NAME = re.compile(
    r"PASS|TOKEN|SECRET|CREDENTIAL|API_?KEY|PRIVATE|_KEY$|_URL$|_DSN$", re.IGNORECASE
)

_PATTERNS = (
    # user:password@ of a URL
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^/\s@]+@", re.IGNORECASE), rf"\1{HIDDEN}@"),
    (re.compile(r"\b(bearer|basic)\s+[a-z0-9._~+/=-]{8,}", re.IGNORECASE), rf"\1 {HIDDEN}"),
    (
        re.compile(
            r"""(?i)([\w-]*(?:passw(?:or)?d|passphrase|token|secret|api[_-]?key|private[_-]?key"""
            r"""|access[_-]?key)["']?\s*[:=]\s*)("[^"]*"|'[^']*'|[^\s,;&"']+)"""
        ),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"), HIDDEN),
    (re.compile(r"\b(?:gh[pousr]_|github_pat_|glpat-|xox[abprs]-)[\w-]{10,}"), HIDDEN),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"), HIDDEN),
)


def mask_for(environment: Mapping[str, str]) -> Mask:
    """A mask that hides what looks like a secret, and secrets that `environment` holds."""
    secrets = sorted(
        {
            value
            for name, value in environment.items()
            if _SECRET_NAME.search(name) and len(value) >= SHORTEST_SECRET
        },
        key=len,
        reverse=True,
    )

    def mask(text: str) -> str:
        for secret in secrets:
            text = text.replace(secret, HIDDEN)
        for pattern, shown in _PATTERNS:
            text = pattern.sub(shown, text)
        return text

    return mask
