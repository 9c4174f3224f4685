"""How the simulator speaks as each exchange."""
