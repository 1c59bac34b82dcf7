-- Which tokens have a place in a status list. A number is used once in an epoch of the feed: a restored database has another.
CREATE TABLE token_statuses (
  number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  epoch TEXT NOT NULL,
  jti TEXT NOT NULL,
  kid TEXT NOT NULL,
  sid TEXT,
  account_id TEXT,
  generation BIGINT,
  key_id TEXT,
  grant_id TEXT,
  appointment_id TEXT,
  until_s BIGINT NOT NULL
);
CREATE INDEX token_statuses_by_death ON token_statuses (until_s);
