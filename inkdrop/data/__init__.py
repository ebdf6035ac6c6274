"""Data: folders, archives, arrays and tables, in an order that can be resumed."""
