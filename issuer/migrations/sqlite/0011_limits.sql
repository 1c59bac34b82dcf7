-- How much a merchant may have, as JSON: what its operator lets it.
ALTER TABLE merchants ADD COLUMN limits TEXT NOT NULL DEFAULT '{}';
