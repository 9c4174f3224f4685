-- What is of no partition: a time that is far off. Without it such a row would be rejected.
CREATE TABLE trade_history_other PARTITION OF trade_history DEFAULT;
-- Counts and sums of a time: the rows of a minute lie together, so a small index of ranges is enough.
CREATE INDEX trade_history_time ON trade_history USING brin (time) WITH (pages_per_range = 32, autosummarize = on);
