"""Reads the document in a page."""

from __future__ import annotations

import base64
import gzip
import json
import re
from typing import Any


def document(text: str) -> dict[str, Any]:
    """The story in a page."""
    found = re.search(r'<script type="application/(json|gzip)" id="story">([^<]*)</script>', text)
    assert found
    packed = found[2] if found[1] == "json" else gzip.decompress(base64.b64decode(found[2])).decode()
    story: dict[str, Any] = json.loads(packed)
    return story
