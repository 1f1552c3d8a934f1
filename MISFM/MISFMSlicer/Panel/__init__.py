"""What the user sees and clicks: the tabs and their sections."""
