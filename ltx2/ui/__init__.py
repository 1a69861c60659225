"""The page: Gradio components and the functions behind them. No model code, no rules of its own."""
