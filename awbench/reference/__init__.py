"""Published numbers and the project's locked ones, and how measurements compare with them."""
