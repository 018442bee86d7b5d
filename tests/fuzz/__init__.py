"""Random input for everything that reads what others wrote: ``make fuzz SECONDS=600``, or one target with ``T=``."""
