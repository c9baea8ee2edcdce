"""How the run was made: command, settings, versions, durations."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from headstart.report.collect import ReportData

__all__ = ["Provenance"]


class Provenance:
    """What is needed to repeat the run."""

    name = "provenance"
    title = "How this run was made"
    template = """\
<pre><code>{{ command }}</code></pre>
{% if read %}<pre class="read">{{ read }}</pre>{% endif %}
<div class="provenance">
<table><caption>Settings</caption><tbody>
{% for key, value in run.info.settings|items %}
<tr><th scope="row">{{ key }}</th><td>{{ value|plain }}</td></tr>
{% endfor %}
</tbody></table>
<table><caption>Versions</caption><tbody>
{% for package, version in versions|items %}
<tr><th scope="row">{{ package }}</th><td>{{ version }}</td></tr>
{% endfor %}
</tbody></table>
<table><caption>Run</caption><tbody>
<tr><th scope="row">created</th><td>{{ run.info.created|replace('T', ' ') }}</td></tr>
{% if run.info.seeds %}
<tr><th scope="row">seed{{ 's' if run.info.seeds|length > 1 }}</th><td>{{ run.info.seeds|plain }}</td></tr>
{% endif %}
{% for stage, seconds in durations|items %}
<tr><th scope="row">{{ stage }}</th><td>{{ '%.1f' % seconds }} s</td></tr>
{% endfor %}
</tbody></table>
</div>
"""

    def compute(self, data: ReportData) -> Mapping[str, Any]:
        """Put together the command line, the versions and the durations."""
        info, summary = data.run.info, data.evaluation.summary
        durations = dict(summary.seconds) if summary else {}
        if info.seconds is not None:
            durations["total"] = info.seconds
        return {
            "read": "\n".join(info.data.lines()) if info.data is not None else "",
            "command": shlex.join(info.arguments) or f"headstart {info.command}",
            "versions": {"headstart": info.headstart, **info.versions},
            "durations": durations,
        }
