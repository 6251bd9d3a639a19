"""A demonstration on real text: five tiny trained networks, each doing what its family is for, and
one of them trained anew.
"""
