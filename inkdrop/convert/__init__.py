"""Foreign checkpoints to inkdrop's models and back; every historical quirk of others ends here."""
