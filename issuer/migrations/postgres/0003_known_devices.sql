-- Raised by a new password and by "that was not me": no device that became known before counts any more.
ALTER TABLE accounts ADD COLUMN device_generation BIGINT NOT NULL DEFAULT 0;
