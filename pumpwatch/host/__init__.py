"""Install PumpWatch on a machine as a service of systemd, or remove it: each is a list of steps."""
