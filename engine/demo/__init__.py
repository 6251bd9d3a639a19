"""A demonstration on real text: five tiny networks, trained in a minute or two, each doing what its
family is for.
"""
