-- Organisations of a merchant. The address is of the head's office, and stays the organisation's for ever.
CREATE TABLE organizations (
  id TEXT NOT NULL PRIMARY KEY,
  merchant_id TEXT NOT NULL REFERENCES merchants (id),
  name TEXT NOT NULL,
  x_address TEXT NOT NULL UNIQUE REFERENCES x_addresses (address),
  created_at BIGINT NOT NULL,
  disabled_at BIGINT,
  version BIGINT NOT NULL
);
CREATE INDEX organizations_by_merchant ON organizations (merchant_id, id);
-- Who heads one.
CREATE TABLE organization_heads (
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  account_id TEXT NOT NULL REFERENCES accounts (id),
  since BIGINT NOT NULL,
  PRIMARY KEY (organization_id, account_id)
);
CREATE INDEX organization_heads_by_account ON organization_heads (account_id);
