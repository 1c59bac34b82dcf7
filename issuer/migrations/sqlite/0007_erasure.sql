ALTER TABLE accounts ADD COLUMN erased_at INTEGER;
-- Usernames of erased accounts, as keyed hashes: nobody takes the name of somebody who is gone.
CREATE TABLE erased_names (
  tag BLOB NOT NULL PRIMARY KEY,
  erased_at INTEGER NOT NULL
) STRICT;
