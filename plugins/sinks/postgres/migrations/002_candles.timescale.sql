CREATE MATERIALIZED VIEW candles WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT time_bucket(interval '1 minute', time) AS time, exchange, market_type, symbol,
       first(price, time) AS open, max(price) AS high, min(price) AS low, last(price, time) AS close,
       sum(quantity) AS volume, sum(price * quantity) AS turnover,
       coalesce(sum(quantity) FILTER (WHERE side = 'buy'), 0) AS buy_volume, count(*) AS trades
FROM trade_history WHERE coalesce(flags, 0) & 12 = 0
GROUP BY 1, exchange, market_type, symbol WITH NO DATA;
-- Only minutes whose trades changed are made again, so the long time costs little, and late trades are in.
SELECT add_continuous_aggregate_policy('candles', start_offset => interval '3 days', end_offset => interval '1 minute',
                                       schedule_interval => interval '1 minute');

CREATE MATERIALIZED VIEW candles_5m WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
{roll_up_5m} WITH NO DATA;
SELECT add_continuous_aggregate_policy('candles_5m', start_offset => interval '1 hour', end_offset => interval '1 minute',
                                       schedule_interval => interval '1 minute');

CREATE MATERIALIZED VIEW candles_1h WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
{roll_up_1h} WITH NO DATA;
SELECT add_continuous_aggregate_policy('candles_1h', start_offset => interval '3 hours', end_offset => interval '1 hour',
                                       schedule_interval => interval '1 hour');

CREATE MATERIALIZED VIEW candles_1d WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
{roll_up_1d} WITH NO DATA;
-- A window of two days would hold one whole bucket only, which the extension refuses where the end lies a day back.
SELECT add_continuous_aggregate_policy('candles_1d', start_offset => interval '3 days', end_offset => interval '1 day',
                                       schedule_interval => interval '1 day');

CREATE MATERIALIZED VIEW daily_trading_stats WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
{daily} WITH NO DATA;
SELECT add_continuous_aggregate_policy('daily_trading_stats', start_offset => interval '3 days', end_offset => interval '1 day',
                                       schedule_interval => interval '1 day');
