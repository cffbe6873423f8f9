-- +goose Up
-- Times are Unix milliseconds. Ids are ordered by their bytes, as everywhere.
CREATE TABLE accounts (
    id               text    COLLATE "C" NOT NULL PRIMARY KEY,
    username         text    COLLATE "C" NOT NULL UNIQUE,
    display_name     text    NOT NULL,
    email            text    NOT NULL,
    roles            bigint  NOT NULL, -- bit n: role n
    market           text    NOT NULL,
    plan             text    NOT NULL,
    disabled         boolean NOT NULL,
    explicit_allowed boolean NOT NULL,
    revision         bigint  NOT NULL,
    created          bigint  NOT NULL,
    password_hash    text    NOT NULL
);
CREATE INDEX accounts_admin ON accounts (id) WHERE roles & 16 <> 0 AND NOT disabled;

CREATE TABLE listener_keys (
    user_id   text   COLLATE "C" NOT NULL PRIMARY KEY REFERENCES accounts (id) ON DELETE CASCADE,
    id        text   NOT NULL,
    master_id bigint NOT NULL,
    wrapped   bytea  NOT NULL
);

-- An id that was deleted never gets a key again.
CREATE TABLE deleted (
    user_id text   COLLATE "C" NOT NULL PRIMARY KEY,
    deleted bigint NOT NULL
);

CREATE TABLE codes (
    hash         bytea   NOT NULL PRIMARY KEY,
    client_id    text    NOT NULL,
    redirect_uri text    NOT NULL,
    scopes       text    NOT NULL, -- by spaces
    nonce        text    NOT NULL,
    challenge    text    NOT NULL,
    user_id      text    COLLATE "C" NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    family_id    text    NOT NULL,
    signed_in    bigint  NOT NULL,
    expires      bigint  NOT NULL,
    redeemed     boolean NOT NULL
);
CREATE INDEX codes_user ON codes (user_id);
CREATE INDEX codes_expires ON codes (expires);

CREATE TABLE families (
    id         text   COLLATE "C" NOT NULL PRIMARY KEY,
    user_id    text   COLLATE "C" NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    client_id  text   NOT NULL,
    user_agent text   NOT NULL,
    scopes     text   NOT NULL,
    nonce      text   NOT NULL,
    signed_in  bigint NOT NULL,
    created    bigint NOT NULL,
    used       bigint NOT NULL,
    expires    bigint NOT NULL,
    seed       bytea  NOT NULL,
    generation bigint NOT NULL,
    key_id     bigint NOT NULL,
    current    bytea  NOT NULL,
    previous   bytea  NOT NULL,
    rotated    bigint NOT NULL,
    revoked    bigint NOT NULL, -- 0 while it lives
    reason     text   NOT NULL,
    revision   bigint NOT NULL
);
CREATE INDEX families_live ON families (user_id, created DESC, id DESC) WHERE revoked = 0;
CREATE INDEX families_user ON families (user_id);
CREATE INDEX families_expires ON families (expires);
CREATE INDEX families_revoked ON families (revoked) WHERE revoked > 0;
