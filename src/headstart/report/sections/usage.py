"""How to use the classifier: code to copy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headstart.report.collect import ReportData
from headstart.report.usage import PHOTO, run_snippets

__all__ = ["Usage"]


class Usage:
    """The command line, Python and the HTTP API; not for an evaluation, which has no classifier of its own."""

    name = "usage"
    title = "How to use the classifier"
    template = """\
<p>Put the path of your own image in place of <code>{{ photo }}</code>, and that of this run's folder where it is
now.</p>
<div class="usage">
{% for snippet in snippets %}
<figure><figcaption><h3>{{ snippet.title }}</h3>
<button type="button" data-copy aria-label="Copy: {{ snippet.title }}" hidden>Copy</button></figcaption>
<pre tabindex="0" aria-label="{{ snippet.title }}"><code>{{ snippet.code }}</code></pre></figure>
{% endfor %}
</div>
"""

    def compute(self, data: ReportData) -> Mapping[str, Any] | None:
        """Write the snippets for this run."""
        snippets = run_snippets(data.run)
        return {"snippets": snippets, "photo": PHOTO} if snippets else None
