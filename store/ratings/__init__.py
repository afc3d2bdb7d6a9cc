"""Tables of ratings as people have them, read into clip tables: `reader.read_ratings` is the way in."""
