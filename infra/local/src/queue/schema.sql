-- Times end in their unit: _ms and _s count from the Unix epoch.
CREATE TABLE IF NOT EXISTS queues (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    settings TEXT NOT NULL, -- JSON: the attributes that were set
    created_s INTEGER NOT NULL,
    modified_s INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS messages (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again, so a handle names one message for ever
    queue INTEGER NOT NULL REFERENCES queues (id) ON DELETE CASCADE,
    id TEXT NOT NULL,
    body TEXT NOT NULL,
    attributes TEXT NOT NULL, -- JSON
    group_id TEXT,
    source_arn TEXT, -- the queue that a dead letter came from
    sent_ms INTEGER NOT NULL,
    visible_ms INTEGER NOT NULL,
    receives INTEGER NOT NULL DEFAULT 0,
    first_received_ms INTEGER,
    received_ms INTEGER,
    receipt TEXT -- of the newest receive
);
CREATE INDEX IF NOT EXISTS messages_visible ON messages (queue, visible_ms, seq);
CREATE INDEX IF NOT EXISTS messages_sent ON messages (queue, sent_ms);

CREATE TABLE IF NOT EXISTS schedule_groups (
    name TEXT PRIMARY KEY,
    created_ms INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO schedule_groups VALUES ('default', 0) ON CONFLICT DO NOTHING;
CREATE TABLE IF NOT EXISTS schedules (
    group_name TEXT NOT NULL REFERENCES schedule_groups (name) ON DELETE CASCADE,
    name TEXT NOT NULL,
    state TEXT NOT NULL,
    body TEXT NOT NULL, -- JSON: the schedule as it was put
    client_token TEXT, -- of the create
    created_ms INTEGER NOT NULL,
    modified_ms INTEGER NOT NULL,
    next_slot_ms INTEGER, -- the next slot's true time
    due_ms INTEGER, -- when it fires: within its flexible window
    PRIMARY KEY (group_name, name)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS schedules_due ON schedules (due_ms) WHERE due_ms IS NOT NULL;
CREATE TABLE IF NOT EXISTS deliveries ( -- fired slots whose target refused them, to be tried again
    id INTEGER PRIMARY KEY,
    body TEXT NOT NULL, -- JSON
    due_ms INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS deliveries_due ON deliveries (due_ms);
