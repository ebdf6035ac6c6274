"""Files of strangers: opened safely, their names mapped; nothing here knows a family."""
