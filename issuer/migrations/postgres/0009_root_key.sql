-- What every other key is derived from, sealed with the master key: that is changed by sealing this anew.
CREATE TABLE root_key (
  id BIGINT NOT NULL PRIMARY KEY,
  sealed BYTEA NOT NULL,
  version BIGINT NOT NULL,
  changed_at BIGINT NOT NULL
);
