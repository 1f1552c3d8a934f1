"""What this computer has: Python packages, models, settings, the self-check."""
