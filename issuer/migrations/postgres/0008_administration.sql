-- Raised by every change that an administrator makes: an update names the one it was made from (RFC 9110 §13.1.1).
ALTER TABLE merchants ADD COLUMN version BIGINT NOT NULL DEFAULT 0;
ALTER TABLE applications ADD COLUMN version BIGINT NOT NULL DEFAULT 0;
ALTER TABLE edges ADD COLUMN version BIGINT NOT NULL DEFAULT 0;
ALTER TABLE accounts ADD COLUMN version BIGINT NOT NULL DEFAULT 0;
-- The key that an edge is about to sign with: both count until the change is over.
ALTER TABLE edges ADD COLUMN next_public_key BYTEA;
-- JSON: what of an account differs from its merchant's settings, and single permissions that it has.
ALTER TABLE accounts ADD COLUMN settings TEXT NOT NULL DEFAULT '{}';
-- Names for sets of permissions.
CREATE TABLE roles (
  merchant_id TEXT NOT NULL REFERENCES merchants (id),
  name TEXT NOT NULL,
  permissions TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  version BIGINT NOT NULL DEFAULT 0,
  PRIMARY KEY (merchant_id, name)
);
CREATE TABLE account_roles (
  account_id TEXT NOT NULL REFERENCES accounts (id),
  merchant_id TEXT NOT NULL,
  role TEXT NOT NULL,
  granted_at BIGINT NOT NULL,
  PRIMARY KEY (account_id, role),
  FOREIGN KEY (merchant_id, role) REFERENCES roles (merchant_id, name)
);
CREATE INDEX account_roles_by_role ON account_roles (merchant_id, role);
-- Answers to creations that came with an `Idempotency-Key`, sealed, for a day.
CREATE TABLE idempotent_answers (
  key BYTEA NOT NULL PRIMARY KEY,
  request BYTEA NOT NULL,
  answer BYTEA NOT NULL,
  expires_at BIGINT NOT NULL
);
CREATE INDEX idempotent_answers_by_expiry ON idempotent_answers (expires_at);
CREATE INDEX applications_by_merchant ON applications (merchant_id, id);
