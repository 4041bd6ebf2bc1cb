"""One module for each benchmark: NAME, and run(world, section)."""
