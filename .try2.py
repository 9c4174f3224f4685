import sys, time, resource, gc
from decimal import Decimal as D
from pumpwatch.accounts import *
from pumpwatch.accounts.unit import Unit
place=sys.argv[1]
if len(sys.argv)>3: gc.disable()
flush=0
orig=Unit.commit
def timed(self):
    global flush
    t=time.process_time(); orig(self); flush+=time.process_time()-t
Unit.commit=timed
with open_account_ledger(place) as l:
    u=l.create_user("paper",at_ns=1); a=l.open_account(u,account_id="a"+str(time.time_ns()),at_ns=1)
    l.transfer(a,D(100000),"deposit",2)
    n=int(sys.argv[2]); r=resource.getrusage(0); flush=0
    for start in range(0,n,500):
        with l.transaction():
            for i in range(start,start+500):
                l.place_order(a,NewOrder(order_id=f"{a}o{i}",venue="x.spot" if i%4>1 and i%2 else "binance.futures",symbol="SOMIUSDT",side="buy" if i%2 else "sell",kind="limit",quantity=D(10),price=D("1.5"),at_ns=i))
                l.fill_order(f"{a}o{i}",OrderFill(fill_id=f"{a}f{i}",price=D("1.4")+D(i%7)/100,quantity=D(10),fee=D("0.001"),liquidity="taker",at_ns=i))
    q=resource.getrusage(0)
    print("user us", (q.ru_utime-r.ru_utime)/(2*n)*1e6, "sys", (q.ru_stime-r.ru_stime)/(2*n)*1e6, "flush", flush/(2*n)*1e6)
