-- An account whose password an administrator lets be set anew, by who holds a token that is used once. At most one of each account.
CREATE TABLE account_resets (
  account_id TEXT NOT NULL PRIMARY KEY REFERENCES accounts (id),
  token_hash BYTEA NOT NULL UNIQUE,
  started_by TEXT NOT NULL,
  scope TEXT NOT NULL,
  reason TEXT NOT NULL,
  started_at BIGINT NOT NULL,
  usable_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL
);
CREATE INDEX account_resets_by_expiry ON account_resets (expires_at);
