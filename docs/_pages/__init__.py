"""Pages of the documentation that are made from the package when the site is built."""
