"""What lies in a folder: vocabularies, published settings, YAML, saves that are seen whole."""
