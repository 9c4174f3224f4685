"""The machine that PumpWatch runs on as a service of systemd: a list of steps puts it there, and another one takes it away."""
