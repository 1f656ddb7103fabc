"""One configuration engine: from files and words to objects, and what may be built."""
