-- What this process and the database use, a value a row.
CREATE TABLE system_metrics (
    time timestamptz NOT NULL,
    host text NOT NULL,
    name text NOT NULL,
    value double precision NOT NULL,
    PRIMARY KEY (name, host, time)
);
CREATE INDEX system_metrics_time ON system_metrics USING brin (time);
