"""The browser demo: a page on an exported artifact. `serve` starts it; Gradio is imported then."""
