"""Measured dose-response curves: fits to one or many arms, shifts between them, and families under an inhibitor."""
