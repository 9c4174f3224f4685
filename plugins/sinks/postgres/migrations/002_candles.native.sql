CREATE TABLE candles (
    time timestamptz NOT NULL,
    exchange text COLLATE "C" NOT NULL,
    market_type text COLLATE "C" NOT NULL,
    symbol text COLLATE "C" NOT NULL,
    open {number} NOT NULL,
    high {number} NOT NULL,
    low {number} NOT NULL,
    close {number} NOT NULL,
    volume {number} NOT NULL,
    turnover {wide_number} NOT NULL,
    buy_volume {number} NOT NULL,
    trades bigint NOT NULL,
    PRIMARY KEY (symbol, exchange, market_type, time)
);
CREATE INDEX candles_time ON candles USING brin (time) WITH (autosummarize = on);

-- Minutes whose candles are older than their trades. Those of trades that are already there are made first.
CREATE TABLE stale_minutes (time timestamptz PRIMARY KEY, touched integer NOT NULL);
INSERT INTO stale_minutes SELECT DISTINCT date_trunc('minute', time), 1 FROM trade_history;

CREATE VIEW candles_5m AS {roll_up_5m};
CREATE VIEW candles_1h AS {roll_up_1h};
CREATE VIEW candles_1d AS {roll_up_1d};
CREATE VIEW daily_trading_stats AS {daily};
