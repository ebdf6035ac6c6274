"""How near samplers come to the truth for a number of calls, beside two libraries."""
