"""From measurements to documents: what was measured is kept in files, and the pages are written from all of them."""
