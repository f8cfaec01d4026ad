-- A batch's records in parts whose keys have one length each: as text is sorted, keys that are counted up lie across all
-- others where a batch goes from 99 to 100. Bodies stand beside what is asked for and changed, so that a change of state does
-- not write them again.

CREATE TABLE block_bodies (
    run   TEXT NOT NULL,
    lane  TEXT NOT NULL,
    batch TEXT NOT NULL,
    part  BIGINT NOT NULL,
    -- For each record in order of the keys: the length of its key in two bytes, the key, its digest of 32 bytes.
    body  BLOB NOT NULL,
    PRIMARY KEY (run, batch, part)
);
INSERT INTO block_bodies SELECT run, lane, batch, 0, body FROM record_blocks;

CREATE TABLE block_parts (
    run      TEXT NOT NULL,
    lane     TEXT NOT NULL,
    batch    TEXT NOT NULL,
    part     BIGINT NOT NULL,
    state    TEXT NOT NULL,
    -- The least and the greatest key, as text is sorted.
    least    TEXT NOT NULL,
    greatest TEXT NOT NULL,
    -- Records in it, and how many of them have a row of their own by now.
    records  BIGINT NOT NULL,
    alone    BIGINT NOT NULL,
    PRIMARY KEY (run, batch, part)
);
INSERT INTO block_parts SELECT run, lane, batch, 0, state, least, greatest, records, alone FROM record_blocks;
DROP TABLE record_blocks;
ALTER TABLE block_parts RENAME TO record_blocks;
CREATE INDEX record_blocks_by_key ON record_blocks (run, lane, least, greatest);
