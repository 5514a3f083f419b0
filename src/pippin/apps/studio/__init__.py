"""Studio: a page in the browser that shows what a model takes, gives and does, where and how fast."""
