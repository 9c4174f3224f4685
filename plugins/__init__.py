"""The plugins that ship with PumpWatch, installed as pumpwatch_plugins."""
