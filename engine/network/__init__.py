"""The network: what a reader reads, from the embeddings to the output layer."""
