"""Paper trading: play a strategy against recorded trades and order books. No order ever leaves the machine.

A tape (`tape`, `archive_tape`) holds the recorded window as columns. The engine (`engine`) shows a strategy each trade when it
would have seen it, and passes its orders to the matching (`matching`) when they would have reached the venue. This runs in a
separate process (`sandbox`, `child`). A run (`run`) plays many tapes; `results` defines its result.
"""
