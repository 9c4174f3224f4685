"""Fill gaps from the venues' histories: choose the requests, their order and their rate, and prove each fill."""
