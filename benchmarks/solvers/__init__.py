"""The accuracy of samplers for a given number of calls, compared with two other libraries."""
