"""Two drugs together: dose matrices, what is expected without interaction, and how sure a deviation is.

One sign everywhere: **positive is synergy**, the combination does more than the reference expects.  Importing this
package imports nothing else; `fits.synergy.analysis.synergy` is the way in.
"""
