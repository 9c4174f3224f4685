SELECT create_hypertable('trade_history', 'time', chunk_time_interval => interval '1 day', create_default_indexes => false);
CREATE INDEX trade_history_time ON trade_history USING brin (time) WITH (pages_per_range = 32);
ALTER TABLE trade_history SET (timescaledb.compress, timescaledb.compress_segmentby = 'symbol',
                               timescaledb.compress_orderby = 'time, exchange, market_type, trade_id, time_ns');
SELECT add_compression_policy('trade_history', interval '7 days');
