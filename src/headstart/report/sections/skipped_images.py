"""Images that could not be used, with the reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from headstart.report.collect import ReportData

__all__ = ["SkippedImages"]

MAX_LISTED, MAX_REASONS, MAX_OPEN = 50, 10, 10


class SkippedImages:
    """A list of them, and of the most frequent reasons if it is long."""

    name = "skipped-images"
    title = "Skipped images"
    template = """\
{% if count %}
<p>{{ count|count }} of {{ total|count }} images could not be used, and are not part of any metric above.</p>
{% if count > max_open %}
<ul class="reasons">
{% for reason, number in reasons %}
<li><b>{{ number|count }}</b> {{ reason }}</li>
{% endfor %}
</ul>
{% endif %}
<details{{ ' open' if count <= max_open }}><summary>
{%- if count > listed|length %}The first {{ listed|length }}; all are in problems.csv{% else %}List{% endif -%}
</summary>
<table class="problems"><caption class="hidden">Skipped images</caption>
<thead><tr><th scope="col">Image</th><th scope="col">Reason</th></tr></thead><tbody>
{% for uri, reason in listed %}
<tr><td><code>{{ uri|path }}</code></td><td>{{ reason }}</td></tr>
{% endfor %}
</tbody></table></details>
{% else %}
<p>None: all {{ total|count }} images could be read.</p>
{% endif %}
"""

    def compute(self, data: ReportData) -> Mapping[str, Any]:
        """Count the reasons."""
        unusable = data.run.manifest.unusable
        rows = list(zip(unusable.uris, unusable.problems, strict=True))
        return {
            "count": len(rows),
            "total": len(data.run.manifest),
            "listed": rows[:MAX_LISTED],
            "reasons": Counter(str(reason) for _, reason in rows).most_common(MAX_REASONS),
            "max_open": MAX_OPEN,
        }
