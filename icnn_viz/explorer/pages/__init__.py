"""One module a page: its path, its layout from a URL's query, and its callbacks."""
