"""Pages of the workbench; the functions that only make HTML do not import Gradio."""
