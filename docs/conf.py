"""Settings of the documentation site: ``make docs`` builds it into build/docs with warnings as errors."""

from __future__ import annotations

import pkgutil
from typing import Any

from docutils.nodes import Element
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx

from headstart import __version__

project = "headstart"
author = "the headstart authors"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton"]
exclude_patterns = ["_build"]

myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist"]
myst_heading_anchors = 3  # page.md#heading is a link that the build checks

# A reference that leads nowhere is a warning, hence an error. Names of other packages have no pages here: the build
# needs no network, so there is no intersphinx.
nitpicky = True
nitpick_ignore_regex = [(r"py:.*", r"(?!headstart).*")]

autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100

copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True
copybutton_line_continuation_character = "\\"

html_theme = "furo"
pygments_dark_style = "github-dark"
html_title = f"headstart {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = html_show_copyright = False
html_copy_source = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#1f5f8b", "color-brand-content": "#1f5f8b"},
    "dark_css_variables": {"color-brand-primary": "#7db8e0", "color-brand-content": "#7db8e0"},
}


def _internal_name(app: Sphinx, env: Any, node: pending_xref, content: Element) -> Element | None:  # noqa: ARG001
    """Accept a name of headstart that has no entry in the site, if the name exists: internals are code, not links."""
    try:
        pkgutil.resolve_name(str(node["reftarget"]))
    except (ImportError, AttributeError, ValueError):
        return None
    return content if str(node["reftarget"]).startswith("headstart.") else None


def setup(app: Sphinx) -> None:
    """Register the handler of references that no page defines."""
    app.connect("missing-reference", _internal_name)
