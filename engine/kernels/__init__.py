"""What depends on the processor: products with weights, dropout, losses, and every measured
threshold.
"""
