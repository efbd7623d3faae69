"""What all four parts share: command lines, errors, files, stamps of what was built, folders, pictures."""
