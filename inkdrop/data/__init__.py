"""Data: folders, archives, arrays and tables of pictures, in an order that can be resumed."""
