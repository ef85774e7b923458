"""How fast Callboard is on this machine, beside what it is measured against."""
