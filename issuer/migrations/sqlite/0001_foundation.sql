-- Times are Unix milliseconds unless a name ends in `_s` (Unix seconds). Ids are texts.

CREATE TABLE merchants (
  id TEXT NOT NULL PRIMARY KEY,
  name TEXT NOT NULL,
  settings TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  platform_at INTEGER,
  disabled_at INTEGER
) STRICT;

CREATE TABLE services (
  merchant_id TEXT NOT NULL REFERENCES merchants (id),
  audience TEXT NOT NULL,
  permissions TEXT NOT NULL,
  PRIMARY KEY (merchant_id, audience)
) STRICT;

CREATE TABLE merchant_keys (
  id TEXT NOT NULL PRIMARY KEY,
  merchant_id TEXT NOT NULL REFERENCES merchants (id),
  secret_hash BLOB NOT NULL,
  permissions TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  expires_at INTEGER,
  last_used_at INTEGER,
  rotated_from TEXT,
  revoked_at INTEGER
) STRICT;
CREATE INDEX merchant_keys_by_merchant ON merchant_keys (merchant_id);

CREATE TABLE applications (
  id TEXT NOT NULL PRIMARY KEY,
  merchant_id TEXT NOT NULL REFERENCES merchants (id),
  name TEXT NOT NULL,
  class TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  disabled_at INTEGER
) STRICT;

CREATE TABLE edges (
  id TEXT NOT NULL PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  public_key BLOB NOT NULL,
  merchants TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  disabled_at INTEGER
) STRICT;

CREATE TABLE x_addresses (
  address TEXT NOT NULL PRIMARY KEY,
  kind TEXT NOT NULL,
  account_id TEXT,
  created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE accounts (
  id TEXT NOT NULL PRIMARY KEY,
  merchant_id TEXT NOT NULL REFERENCES merchants (id),
  username TEXT NOT NULL,
  username_key TEXT NOT NULL UNIQUE,
  x_address TEXT NOT NULL UNIQUE REFERENCES x_addresses (address),
  generation INTEGER NOT NULL,
  failures INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  disabled_at INTEGER
) STRICT;
CREATE INDEX accounts_by_merchant ON accounts (merchant_id, id);

CREATE TABLE passwords (
  account_id TEXT NOT NULL PRIMARY KEY REFERENCES accounts (id),
  hash TEXT NOT NULL,
  changed_at INTEGER NOT NULL
) STRICT;

CREATE TABLE security_tokens (
  jti TEXT NOT NULL PRIMARY KEY,
  account_id TEXT NOT NULL REFERENCES accounts (id),
  generation INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  consumed_at INTEGER
) STRICT;
CREATE INDEX security_tokens_by_expiry ON security_tokens (expires_at);

CREATE TABLE sessions (
  sid TEXT NOT NULL PRIMARY KEY,
  merchant_id TEXT NOT NULL,
  account_id TEXT NOT NULL REFERENCES accounts (id),
  generation INTEGER NOT NULL,
  client_id TEXT NOT NULL,
  started_at INTEGER NOT NULL,
  seen_at INTEGER NOT NULL,
  idle_s INTEGER NOT NULL,
  until_s INTEGER NOT NULL,
  auth_time_s INTEGER NOT NULL,
  amr TEXT NOT NULL,
  ended_at INTEGER,
  ending TEXT,
  forget_at INTEGER NOT NULL
) STRICT;
CREATE INDEX sessions_by_account ON sessions (account_id);
CREATE INDEX sessions_by_death ON sessions (forget_at);

CREATE TABLE refresh_tokens (
  hash BLOB NOT NULL PRIMARY KEY,
  family TEXT NOT NULL,
  parent_hash BLOB,
  sid TEXT NOT NULL,
  client_id TEXT NOT NULL,
  audience TEXT NOT NULL,
  scope TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  used_at INTEGER,
  child_used_at INTEGER,
  retry_key BLOB,
  retry_answer BLOB
) STRICT;
CREATE INDEX refresh_tokens_by_session ON refresh_tokens (sid);
CREATE INDEX refresh_tokens_by_expiry ON refresh_tokens (expires_at);

CREATE TABLE feed (
  id INTEGER NOT NULL PRIMARY KEY,
  epoch TEXT NOT NULL,
  seq INTEGER NOT NULL
) STRICT;

CREATE TABLE feed_events (
  seq INTEGER NOT NULL PRIMARY KEY,
  kind TEXT NOT NULL,
  id TEXT NOT NULL,
  generation INTEGER NOT NULL,
  until_s INTEGER NOT NULL,
  at INTEGER NOT NULL
) STRICT;
CREATE INDEX feed_events_by_id ON feed_events (kind, id);
CREATE INDEX feed_events_by_death ON feed_events (until_s);

CREATE TABLE signing_keys (
  kid TEXT NOT NULL PRIMARY KEY,
  state TEXT NOT NULL,
  public_key BLOB NOT NULL,
  sealed_private BLOB NOT NULL,
  published_at INTEGER NOT NULL,
  changed_at INTEGER NOT NULL
) STRICT;
-- At most one key signs and one stands by, whatever several processes do at once.
CREATE UNIQUE INDEX signing_keys_single ON signing_keys (state) WHERE state IN ('active', 'standby');

CREATE TABLE audit (
  id TEXT NOT NULL PRIMARY KEY,
  at INTEGER NOT NULL,
  act TEXT NOT NULL,
  outcome TEXT NOT NULL,
  reason TEXT,
  merchant_id TEXT,
  actor TEXT,
  subject TEXT,
  address_tag BLOB,
  request_id TEXT
) STRICT;
CREATE INDEX audit_by_time ON audit (at);
CREATE INDEX audit_by_merchant ON audit (merchant_id, at);
