import sys, time
from decimal import Decimal as D
from pumpwatch.accounts import *
place=sys.argv[1]
with open_account_ledger(place) as l:
    u=l.create_user("paper",at_ns=1); a=l.open_account(u,account_id="a"+str(time.time_ns()),at_ns=1)
    l.transfer(a,D(100000),"deposit",2)
    def o(i,**k):
        base=dict(order_id=f"{a}o{i}",venue="binance.futures",symbol="SOMIUSDT",side="buy",kind="limit",quantity=D(10),price=D("1.5"),leverage=D(5),at_ns=i)
        return NewOrder(**{**base,**k})
    n=int(sys.argv[2]); t=time.process_time(); w=time.time()
    for start in range(0,n,500):
        with l.transaction():
            for i in range(start,start+500):
                l.place_order(a,o(i,side="buy" if i%2 else "sell",venue="x.spot" if i%4>1 and i%2 else "binance.futures",leverage=D(1)))
                l.fill_order(f"{a}o{i}",OrderFill(fill_id=f"{a}f{i}",price=D("1.4")+D(i%7)/100,quantity=D(10),fee=D("0.001"),liquidity="taker",at_ns=i))
    c=time.process_time()-t; print("cpu us/command", c/(2*n)*1e6, "wall", time.time()-w)
    print(l.accounts(a)); print(l.positions(a))
    t=time.process_time()
    for f in l.check(): print(f)
    print("check", time.process_time()-t, l.rebuild())
    assert all(f.state=="ok" for f in l.check())
