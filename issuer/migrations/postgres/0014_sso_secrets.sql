-- What a merchant's own page signs its users with, and what it signed with before, until then. Both are sealed.
CREATE TABLE sso_secrets (
  merchant_id TEXT NOT NULL PRIMARY KEY REFERENCES merchants (id),
  sealed BYTEA NOT NULL,
  created_at BIGINT NOT NULL,
  previous_sealed BYTEA,
  previous_until BIGINT
);
