"""Configuration of the documentation site: `make docs` builds build/docs."""

import napari_colorize

project = "napari-colorize"
author = "napari-colorize contributors"
copyright = f"2026, {author}"
release = napari_colorize.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["README.md", "dev/runs"]
# Links to files that are no pages of the site; tests/test_readme.py checks that they exist.
suppress_warnings = ["myst.xref_missing"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
default_role = "py:obj"  # names in single backticks link to the API where it has them

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings have types with shapes, units and ranges
napoleon_google_docstring = False
napoleon_use_rtype = False

html_theme = "pydata_sphinx_theme"
html_title = project
html_sidebars = {"**": ["globaltoc.html"]}  # all pages; the theme shows those of a section
html_theme_options = {"show_toc_level": 2, "navigation_with_keys": False}
