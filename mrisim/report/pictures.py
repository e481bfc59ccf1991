"""Pictures inside a page, as small as they look the same."""

from __future__ import annotations

import base64
import io

_QUALITY = 88  # of a lossy picture
_EFFORT = 2  # of 6: more takes longer than what it saves


def embedded(png: bytes) -> str:
    """Picture as a `data:` address: WebP, lossless for line art and lossy for noise, where that is smaller than PNG.

    Example:
        >>> import io
        >>> from PIL import Image
        >>> file = io.BytesIO()
        >>> Image.effect_noise((64, 64), 50).save(file, "PNG")
        >>> embedded(file.getvalue())[:23]
        'data:image/webp;base64,'
    """
    kind, content = min([("png", png), *_webp(png)], key=lambda found: len(found[1]))
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _webp(png: bytes) -> list[tuple[str, bytes]]:
    from PIL import Image, features

    if not png or not features.check("webp"):
        return []
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    found = []
    for options in ({"lossless": True, "quality": 20}, {"quality": _QUALITY}):
        file = io.BytesIO()
        picture.save(file, "WEBP", method=_EFFORT, **options)
        found.append(("webp", file.getvalue()))
    return found
