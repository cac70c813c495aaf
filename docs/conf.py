"""How the documentation site is built: ``make docs``."""

from __future__ import annotations

import runpy
from pathlib import Path

import latex2mathml.converter
from docutils.nodes import SkipNode
from sphinx_gallery.scrapers import figure_rst

import topo

HERE = Path(__file__).resolve().parent

project = "topo"
author = "the topo contributors"
copyright = "the topo contributors"
release = version = topo.__version__

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]

# Pages. Notebooks are shown with the outputs that they are committed with.
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
myst_update_mathjax = False
html_math_renderer = "mathml"
nb_execution_mode = "off"
exclude_patterns = [
    "gallery/*",
    *(f"figures/*.{kind}" for kind in ("py", "ipynb", "md5", "json")),
    "**/.ipynb_checkpoints",
]
root_doc = "index"
suppress_warnings = ["config.cache"]

# Docstrings.
default_role = "py:obj"
add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False


# Figures. What a block of an example calls `figure` is shown: pyplot does not keep the figures of the library.
def scrape(block, block_vars, gallery_conf) -> str:
    drawn = block_vars["example_globals"].pop("figure", None)
    if drawn is None:
        return ""
    path = Path(next(block_vars["image_path_iterator"]))
    drawn.savefig(path, dpi=120)
    return figure_rst([str(path)], gallery_conf["src_dir"])


sphinx_gallery_conf = {
    "examples_dirs": [str(HERE / "gallery")],
    "gallery_dirs": ["figures"],
    "filename_pattern": r"/\w+\.py",
    "ignore_pattern": r"__init__\.py",
    "copyfile_regex": "",
    "download_all_examples": False,
    "show_memory": False,
    "min_reported_time": 30,
    "remove_config_comments": True,
    "image_scrapers": (scrape,),
    "abort_on_example_error": True,
    "write_computation_times": False,
    "parallel": True,  # as many at a time as sphinx-build -j says
}

# Look.
html_theme = "furo"
html_title = f"topo {release}"
html_static_path: list[str] = []
html_copy_source = False
html_show_sourcelink = False
copybutton_exclude = ".linenos, .gp, .go"


# Formulas are MathML, which browsers draw without a script from another machine.
def formula(display):
    def visit(translator, node) -> None:
        translator.body.append(latex2mathml.converter.convert(node.astext(), display=display))
        raise SkipNode

    return visit, None


def setup(app) -> None:
    app.add_html_math_renderer("mathml", formula("inline"), formula("block"))
    write = runpy.run_path(str(HERE / "generated_pages.py"))["write"]
    app.connect("builder-inited", lambda app: write(Path(app.srcdir)))
