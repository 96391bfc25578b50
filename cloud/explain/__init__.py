"""`./xinglin cloud explain REPORT`: from the printed report back to the bytes on the wire, from stored data alone.

Every step is worked out again and compared with what was stored: the bytes' hash, the driver's reading, the conversion,
the verdict, what rule sets decided, the frozen content's hash, the audit entry. Reads only; what cannot be worked out
again is said to be so and never passed over.
"""
