"""Paper trading: a strategy is played against recorded trades and order books. No order ever leaves the machine.

A tape (`tape`, `archive_tape`) holds the recorded window as columns. The engine (`engine`) gives a strategy each trade at the
time at which it would have seen it, and its orders to the matching (`matching`) at the time at which they would have reached the
venue. That runs in a process of its own (`sandbox`, `child`). A run (`run`) is many of these; `results` has its shape.
"""
