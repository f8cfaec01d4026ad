-- Records of one batch that all fare alike, in one row: their keys and digests. What is told of a record by itself stands in
-- `record_items` and counts more.

CREATE TABLE record_blocks (
    run      TEXT NOT NULL,
    lane     TEXT NOT NULL,
    batch    TEXT NOT NULL,
    state    TEXT NOT NULL,
    -- The least and the greatest key, as text is sorted.
    least    TEXT NOT NULL,
    greatest TEXT NOT NULL,
    -- Records in it, and how many of them have a row of their own by now.
    records  BIGINT NOT NULL,
    alone    BIGINT NOT NULL,
    -- For each record in order of the keys: the length of its key in two bytes, the key, its SHA-256.
    body     BLOB NOT NULL,
    PRIMARY KEY (run, batch)
);
CREATE INDEX record_blocks_by_key ON record_blocks (run, lane, least, greatest);
