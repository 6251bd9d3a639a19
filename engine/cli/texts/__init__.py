"""What the commands on texts do once torch is there; the commands themselves import it when they run."""
