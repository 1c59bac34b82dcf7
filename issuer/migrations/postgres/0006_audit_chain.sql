-- A row is sealed within a second of its act: it gets its number in the chain, and its hash with that of the row before.
-- Rows of before are sealed like new ones.
ALTER TABLE audit ADD COLUMN person TEXT;
ALTER TABLE audit ADD COLUMN personal BYTEA;
ALTER TABLE audit ADD COLUMN seq BIGINT;
ALTER TABLE audit ADD COLUMN hash BYTEA;
CREATE UNIQUE INDEX audit_by_seq ON audit (seq) WHERE seq IS NOT NULL;
CREATE INDEX audit_unsealed ON audit (at, id) WHERE seq IS NULL;
-- The end of the chain, signed.
CREATE TABLE audit_head (
  id BIGINT NOT NULL PRIMARY KEY,
  seq BIGINT NOT NULL,
  hash BYTEA NOT NULL,
  at BIGINT NOT NULL,
  signature BYTEA NOT NULL
);
-- What seals the personal part of an account's rows, itself sealed; destroyed with the account.
ALTER TABLE accounts ADD COLUMN audit_key BYTEA;
CREATE INDEX accounts_without_audit_key ON accounts (id) WHERE audit_key IS NULL;
