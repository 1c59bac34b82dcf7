-- Times are Unix milliseconds unless a name ends in `_s` (Unix seconds). Ids are texts.

CREATE TABLE merchants (
  id TEXT NOT NULL PRIMARY KEY,
  name TEXT NOT NULL,
  settings TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  platform_at BIGINT,
  disabled_at BIGINT
);

CREATE TABLE services (
  merchant_id TEXT NOT NULL REFERENCES merchants (id),
  audience TEXT NOT NULL,
  permissions TEXT NOT NULL,
  PRIMARY KEY (merchant_id, audience)
);

CREATE TABLE merchant_keys (
  id TEXT NOT NULL PRIMARY KEY,
  merchant_id TEXT NOT NULL REFERENCES merchants (id),
  secret_hash BYTEA NOT NULL,
  permissions TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  expires_at BIGINT,
  last_used_at BIGINT,
  rotated_from TEXT,
  revoked_at BIGINT
);
CREATE INDEX merchant_keys_by_merchant ON merchant_keys (merchant_id);

CREATE TABLE applications (
  id TEXT NOT NULL PRIMARY KEY,
  merchant_id TEXT NOT NULL REFERENCES merchants (id),
  name TEXT NOT NULL,
  class TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  disabled_at BIGINT
);

CREATE TABLE edges (
  id TEXT NOT NULL PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  public_key BYTEA NOT NULL,
  merchants TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  disabled_at BIGINT
);

CREATE TABLE x_addresses (
  address TEXT NOT NULL PRIMARY KEY,
  kind TEXT NOT NULL,
  account_id TEXT,
  created_at BIGINT NOT NULL
);

CREATE TABLE accounts (
  id TEXT NOT NULL PRIMARY KEY,
  merchant_id TEXT NOT NULL REFERENCES merchants (id),
  username TEXT NOT NULL,
  username_key TEXT NOT NULL UNIQUE,
  x_address TEXT NOT NULL UNIQUE REFERENCES x_addresses (address),
  generation BIGINT NOT NULL,
  failures BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  disabled_at BIGINT
);
CREATE INDEX accounts_by_merchant ON accounts (merchant_id, id);

CREATE TABLE passwords (
  account_id TEXT NOT NULL PRIMARY KEY REFERENCES accounts (id),
  hash TEXT NOT NULL,
  changed_at BIGINT NOT NULL
);

CREATE TABLE security_tokens (
  jti TEXT NOT NULL PRIMARY KEY,
  account_id TEXT NOT NULL REFERENCES accounts (id),
  generation BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  consumed_at BIGINT
);
CREATE INDEX security_tokens_by_expiry ON security_tokens (expires_at);

CREATE TABLE sessions (
  sid TEXT NOT NULL PRIMARY KEY,
  merchant_id TEXT NOT NULL,
  account_id TEXT NOT NULL REFERENCES accounts (id),
  generation BIGINT NOT NULL,
  client_id TEXT NOT NULL,
  started_at BIGINT NOT NULL,
  seen_at BIGINT NOT NULL,
  idle_s BIGINT NOT NULL,
  until_s BIGINT NOT NULL,
  auth_time_s BIGINT NOT NULL,
  amr TEXT NOT NULL,
  ended_at BIGINT,
  ending TEXT,
  forget_at BIGINT NOT NULL
);
CREATE INDEX sessions_by_account ON sessions (account_id);
CREATE INDEX sessions_by_death ON sessions (forget_at);

CREATE TABLE refresh_tokens (
  hash BYTEA NOT NULL PRIMARY KEY,
  family TEXT NOT NULL,
  parent_hash BYTEA,
  sid TEXT NOT NULL,
  client_id TEXT NOT NULL,
  audience TEXT NOT NULL,
  scope TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  used_at BIGINT,
  child_used_at BIGINT,
  retry_key BYTEA,
  retry_answer BYTEA
);
CREATE INDEX refresh_tokens_by_session ON refresh_tokens (sid);
CREATE INDEX refresh_tokens_by_expiry ON refresh_tokens (expires_at);

CREATE TABLE feed (
  id BIGINT NOT NULL PRIMARY KEY,
  epoch TEXT NOT NULL,
  seq BIGINT NOT NULL
);

CREATE TABLE feed_events (
  seq BIGINT NOT NULL PRIMARY KEY,
  kind TEXT NOT NULL,
  id TEXT NOT NULL,
  generation BIGINT NOT NULL,
  until_s BIGINT NOT NULL,
  at BIGINT NOT NULL
);
CREATE INDEX feed_events_by_id ON feed_events (kind, id);
CREATE INDEX feed_events_by_death ON feed_events (until_s);

CREATE TABLE signing_keys (
  kid TEXT NOT NULL PRIMARY KEY,
  state TEXT NOT NULL,
  public_key BYTEA NOT NULL,
  sealed_private BYTEA NOT NULL,
  published_at BIGINT NOT NULL,
  changed_at BIGINT NOT NULL
);
-- At most one key signs and one stands by, whatever several processes do at once.
CREATE UNIQUE INDEX signing_keys_single ON signing_keys (state) WHERE state IN ('active', 'standby');

CREATE TABLE audit (
  id TEXT NOT NULL PRIMARY KEY,
  at BIGINT NOT NULL,
  act TEXT NOT NULL,
  outcome TEXT NOT NULL,
  reason TEXT,
  merchant_id TEXT,
  actor TEXT,
  subject TEXT,
  address_tag BYTEA,
  request_id TEXT
);
CREATE INDEX audit_by_time ON audit (at);
CREATE INDEX audit_by_merchant ON audit (merchant_id, at);
