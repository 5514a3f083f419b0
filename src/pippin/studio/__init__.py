"""Studio: a page in the browser that shows what a model takes, gives, does, where and how fast. Only on this machine."""
