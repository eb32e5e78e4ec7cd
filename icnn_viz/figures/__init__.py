"""Records in, figures out. Nothing here shows a figure, and only `write` saves one."""
