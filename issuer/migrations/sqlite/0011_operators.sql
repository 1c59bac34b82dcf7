-- How much a merchant may have, as JSON: what its operator lets it.
ALTER TABLE merchants ADD COLUMN limits TEXT NOT NULL DEFAULT '{}';
-- When somebody with a shell last made themselves an administrator of it.
ALTER TABLE merchants ADD COLUMN reset_at INTEGER;
-- When an edge was first seen to sign with its next key.
ALTER TABLE edges ADD COLUMN next_key_used_at INTEGER;
-- Counting them is for whoever is limited.
CREATE INDEX accounts_not_erased ON accounts (merchant_id) WHERE erased_at IS NULL;
