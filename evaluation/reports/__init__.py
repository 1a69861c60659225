"""Reports as one file of HTML: parts as data, templates, plots."""
