"""What is done with a model besides one pass: generating, filling masks, scoring, streaming."""
