-- What every other key is derived from, sealed with the master key: that is changed by sealing this anew.
CREATE TABLE root_key (
  id INTEGER NOT NULL PRIMARY KEY,
  sealed BLOB NOT NULL,
  version INTEGER NOT NULL,
  changed_at INTEGER NOT NULL
) STRICT;
