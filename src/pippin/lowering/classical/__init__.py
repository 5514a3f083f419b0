"""Classical: models that are no networks, and what prepares their features; one file for each family.

`classical.py` has the way in and out that they share; `lowering/lower_model.py` says which function lowers which kind.
"""
