ALTER TABLE accounts ADD COLUMN erased_at BIGINT;
-- Usernames of erased accounts, as keyed hashes: nobody takes the name of somebody who is gone.
CREATE TABLE erased_names (
  tag BYTEA NOT NULL PRIMARY KEY,
  erased_at BIGINT NOT NULL
);
