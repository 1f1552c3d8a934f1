"""What is read from the MRML scene and put into it."""
