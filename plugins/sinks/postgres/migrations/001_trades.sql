-- Trades, and what is stored beside them. {number}: the type of prices and quantities.

CREATE TABLE trade_history (
    time timestamptz NOT NULL,          -- the venue's time, in microseconds
    received_at timestamptz NOT NULL,   -- ours
    price {number} NOT NULL,
    quantity {number} NOT NULL,         -- base units
    sequence_number bigint,
    time_ns smallint NOT NULL,          -- nanoseconds beyond `time`
    received_ns smallint NOT NULL,
    flags smallint,
    side text COLLATE "C" NOT NULL,     -- by bytes: the rules of a language make an index several times slower
    exchange text COLLATE "C" NOT NULL,
    market_type text COLLATE "C" NOT NULL,
    symbol text COLLATE "C" NOT NULL,
    trade_id text COLLATE "C" NOT NULL,
    PRIMARY KEY (symbol, time, trade_id, exchange, market_type, time_ns)
){partitioned};

CREATE TABLE exchange_health (
    time timestamptz NOT NULL,
    exchange text NOT NULL,
    market_type text NOT NULL,
    connections integer,
    trades bigint,
    lag_ms double precision,
    gaps bigint,
    status text,
    last_trade_time timestamptz,
    message_count bigint,
    error_message text,
    PRIMARY KEY (time, exchange, market_type)
);

CREATE TABLE listing_events (
    announced_at timestamptz NOT NULL,
    source text NOT NULL,
    notice_id text NOT NULL,
    symbol text NOT NULL,
    title text,
    detected_at timestamptz,
    triggered_at timestamptz,
    trigger_delay_ms double precision,
    needs_body boolean,
    archive text,
    trades bigint,
    exchanges_with_data text,
    drill boolean,
    PRIMARY KEY (source, notice_id, symbol)
);
CREATE INDEX listing_events_announced_at ON listing_events (announced_at);
