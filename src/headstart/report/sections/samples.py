"""Example images with their labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headstart.report.collect import ReportData

__all__ = ["Samples"]


class Samples:
    """Images drawn at random."""

    name = "samples"
    title = "Example images"
    template = """\
<p>{{ samples|length }} of {{ images|count }} images with their labels, drawn at random
{%- if evaluation.classes|length > 1 %} and spread over the classes{% endif %}.</p>
<ul class="sheet">
{% for uri, label in samples %}
<li><figure>{{ image(uri, label) }}<figcaption>{{ label|name }}</figcaption></figure></li>
{% endfor %}
</ul>
"""

    def compute(self, data: ReportData) -> Mapping[str, Any] | None:
        """Look up the drawn images."""
        if not data.samples:
            return None
        drawn = data.usable.select(data.samples)
        data.thumbnails.load(drawn.uris)
        return {"samples": list(zip(drawn.uris, drawn.labels, strict=True)), "images": len(data.usable)}
