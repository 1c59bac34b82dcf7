-- Devices that are to be told something (push). How they are reached, and what their owner calls them, is sealed.
CREATE TABLE devices (
  id TEXT NOT NULL PRIMARY KEY,
  account_id TEXT NOT NULL REFERENCES accounts (id),
  kind TEXT NOT NULL,
  target_hash BLOB NOT NULL UNIQUE,
  sealed BLOB NOT NULL,
  created_at INTEGER NOT NULL,
  seen_at INTEGER NOT NULL
) STRICT;
CREATE INDEX devices_by_account ON devices (account_id, id);
CREATE INDEX devices_by_silence ON devices (seen_at);
