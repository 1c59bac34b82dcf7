-- The generation of a person who has started a reset: whatever ends all that they have ends it.
ALTER TABLE account_resets ADD COLUMN starter_generation BIGINT;
-- What a notice is about: of one thing one waits. The more urgent one is sent first.
ALTER TABLE notices ADD COLUMN about TEXT;
ALTER TABLE notices ADD COLUMN urgency BIGINT NOT NULL DEFAULT 0;
CREATE UNIQUE INDEX notices_by_subject ON notices (about);
CREATE INDEX notices_by_expiry ON notices (expires_at);
