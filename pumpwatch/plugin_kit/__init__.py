"""What a plugin author needs: a package to start from, and the contract that every plugin is held to."""
