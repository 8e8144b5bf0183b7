"""Files of measured curves as people have them: other encodings, decimal commas, wide tables, Excel, digitised
figures.
"""
