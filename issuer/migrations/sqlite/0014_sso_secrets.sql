-- What a merchant's own page signs its users with, and what it signed with before, until then. Both are sealed.
CREATE TABLE sso_secrets (
  merchant_id TEXT NOT NULL PRIMARY KEY REFERENCES merchants (id),
  sealed BLOB NOT NULL,
  created_at INTEGER NOT NULL,
  previous_sealed BLOB,
  previous_until INTEGER
) STRICT;
