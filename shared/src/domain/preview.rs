//! A preview: what a job would take, as a worker's dry run found it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::check::{CheckFailure, CheckStatus};

/// How many entries a listing keeps.
pub const MAX_ENTRIES: usize = 1_000;
/// How much text their paths and targets hold together, bytes.
pub const MAX_ENTRY_BYTES: usize = 128 << 10;
/// How many remarks a listing keeps, and how much of each, bytes.
pub const MAX_REMARKS: usize = 50;
const MAX_REMARK_BYTES: usize = 1 << 10;

/// The last dry run of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preview {
    /// Identifies this dry run: an answer to an older one is dropped.
    pub id: Uuid,
    /// How far it is.
    pub status: CheckStatus,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// When the worker answered.
    #[serde(default)]
    pub finished_at: Option<Timestamp>,
    /// The step that failed: `connect`, `host_key`, `login`, `forwarding`, `source`.
    #[serde(default)]
    pub failed_step: Option<String>,
    /// What failed and what to do; holds no secret.
    #[serde(default)]
    pub message: Option<String>,
    /// What would be taken; `None` until the worker answered, or where it failed.
    #[serde(default)]
    pub listing: Option<Listing>,
}

/// What would be taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// The first entries, in the order in which they would be taken.
    pub entries: Vec<Entry>,
    /// All entries that were seen, also those beyond the first.
    pub totals: Totals,
    /// Whether everything was seen: otherwise time was up, and there is more than the totals say.
    pub is_complete: bool,
    /// What cannot be taken, or not wholly, one line each.
    pub remarks: Vec<String>,
}

/// One file, or whatever else has a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its path; what of it is no UTF-8 is U+FFFD.
    pub path: String,
    /// What it is.
    pub kind: EntryKind,
    /// Its length; 0 for what is no file. A hard link's bytes are those of the name before it.
    pub bytes: u64,
    /// Where a link leads.
    #[serde(default)]
    pub target: Option<String>,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// Bytes.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Symlink,
    /// Another name of a file that stands before it.
    HardLink,
    /// A device that is read character by character.
    CharacterDevice,
    /// A device that is read block by block.
    BlockDevice,
    /// A named pipe.
    Fifo,
}

/// How many entries of each kind there are, and how much they hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Files.
    pub files: u64,
    /// Folders.
    pub folders: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Further names of files.
    pub hard_links: u64,
    /// Devices and named pipes.
    pub others: u64,
    /// Bytes of all files; holes count as if they were full.
    pub bytes: u64,
}

impl EntryKind {
    /// Every kind.
    pub const ALL: [Self; 7] =
        [Self::File, Self::Folder, Self::Symlink, Self::HardLink, Self::CharacterDevice, Self::BlockDevice, Self::Fifo];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Folder => "folder",
            Self::Symlink => "symlink",
            Self::HardLink => "hard_link",
            Self::CharacterDevice => "character_device",
            Self::BlockDevice => "block_device",
            Self::Fifo => "fifo",
        }
    }
}

impl Default for Listing {
    fn default() -> Self {
        Self { entries: Vec::new(), totals: Totals::default(), is_complete: true, remarks: Vec::new() }
    }
}

impl Listing {
    /// Counts an entry, and keeps it while there is room.
    pub fn add(&mut self, entry: Entry) {
        let totals = &mut self.totals;
        *match entry.kind {
            EntryKind::File => &mut totals.files,
            EntryKind::Folder => &mut totals.folders,
            EntryKind::Symlink => &mut totals.symlinks,
            EntryKind::HardLink => &mut totals.hard_links,
            EntryKind::CharacterDevice | EntryKind::BlockDevice | EntryKind::Fifo => &mut totals.others,
        } += 1;
        totals.bytes = totals.bytes.saturating_add(entry.bytes);
        // Whatever comes after one that was left out is left out too: the first ones are kept, not some.
        if self.totals.count() == self.entries.len() as u64 + 1 && self.has_room_for(&entry) {
            self.entries.push(entry);
        }
    }

    /// Takes in what there is to remark, as far as there is room.
    pub fn remark(&mut self, remarks: impl IntoIterator<Item = String>) {
        let room = MAX_REMARKS.saturating_sub(self.remarks.len());
        self.remarks.extend(remarks.into_iter().take(room).map(|mut remark| {
            remark.truncate(remark.floor_char_boundary(MAX_REMARK_BYTES));
            remark
        }));
    }

    /// Whether entries were seen that are not among those kept.
    pub fn leaves_out(&self) -> bool {
        self.totals.count() > self.entries.len() as u64
    }

    fn has_room_for(&self, entry: &Entry) -> bool {
        let bytes = |entry: &Entry| entry.path.len() + entry.target.as_ref().map_or(0, String::len);
        self.entries.len() < MAX_ENTRIES
            && self.entries.iter().map(bytes).sum::<usize>() + bytes(entry) <= MAX_ENTRY_BYTES
    }
}

impl Totals {
    /// How many entries there are.
    pub fn count(&self) -> u64 {
        self.files + self.folders + self.symlinks + self.hard_links + self.others
    }
}

impl Preview {
    /// One that waits for a worker.
    pub fn pending(id: Uuid, now: Timestamp) -> Self {
        Self {
            id,
            status: CheckStatus::Pending,
            requested_at: now,
            finished_at: None,
            failed_step: None,
            message: None,
            listing: None,
        }
    }

    /// The same, answered.
    pub fn finished(self, outcome: Result<Listing, CheckFailure>, now: Timestamp) -> Self {
        let answered = Self { finished_at: Some(now), ..self };
        match outcome {
            Ok(listing) => Self { status: CheckStatus::Success, listing: Some(listing), ..answered },
            Err(CheckFailure { step, message }) => {
                Self { status: CheckStatus::Failed, failed_step: Some(step), message: Some(message), ..answered }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: String, bytes: u64) -> Entry {
        Entry { path, kind: EntryKind::File, bytes, target: None }
    }

    #[test]
    fn entries_are_bounded_and_totals_are_not() {
        let mut listing = Listing::default();
        for number in 0..MAX_ENTRIES as u64 {
            assert!(!listing.leaves_out());
            listing.add(file(format!("/{number}"), 2));
        }
        assert_eq!((listing.entries.len(), listing.leaves_out()), (MAX_ENTRIES, false));
        listing.add(file("/last".to_owned(), u64::MAX));
        assert_eq!((listing.entries.len(), listing.leaves_out()), (MAX_ENTRIES, true));
        assert_eq!((listing.totals.files, listing.totals.bytes), (1_001, u64::MAX));
    }

    #[test]
    fn the_first_ones_are_kept_and_not_some() {
        let mut listing = Listing::default();
        listing.add(file("a".to_owned(), 1));
        listing.add(file("b".repeat(MAX_ENTRY_BYTES), 1));
        listing.add(file("c".to_owned(), 1));
        assert_eq!((listing.entries.len(), listing.totals.files), (1, 3));
        listing.remark((0..100).map(|_| "ä".repeat(MAX_REMARK_BYTES)));
        assert!(listing.remarks.len() == MAX_REMARKS && listing.remarks[0].len() <= MAX_REMARK_BYTES);
    }

    #[test]
    fn kinds_are_written_as_they_are_called() {
        for kind in EntryKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }
}
