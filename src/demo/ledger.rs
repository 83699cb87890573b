//! Which mails were sent, and how often each: counted where they are handed to the mailer, so that
//! a mail that is sent twice shows, whatever the records say.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// How long an entry is kept: longer than any message of a demo is under way.
const ENTRY_KEPT: Duration = Duration::from_secs(24 * 3600);
/// How long the file of a mail is kept. There is one for almost every change.
const FILE_KEPT: Duration = Duration::from_secs(3600);

/// The mails that were sent, by their `Message-ID`. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Ledger(Arc<Mutex<HashMap<String, Entry>>>);

struct Entry {
    times: u64,
    last: SystemTime,
    /// How many of the repetitions are explained by a fault between sending and recording.
    explained: u64,
}

/// What was sent since some time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct MailCounts {
    /// Every time a mail was sent.
    pub(super) sent: u64,
    /// Mails, however often each was sent.
    pub(super) distinct: u64,
    /// How often a mail was sent that had been sent before.
    pub(super) repeated: u64,
    /// How many of these repetitions are within the window that the promise leaves open.
    pub(super) in_window: u64,
}

impl Ledger {
    /// Goes on with the mails that are files in this directory, each of which was sent by a process
    /// before.
    ///
    /// # Errors
    /// The directory can't be read.
    pub(super) fn read(directory: &Path) -> io::Result<Ledger> {
        let ledger = Ledger::default();
        for (path, sent_at) in files(directory)? {
            if let Some(id) = path.file_stem().and_then(OsStr::to_str) {
                let entry = Entry { times: 1, last: sent_at, explained: 0 };
                ledger.entries().insert(id.to_owned(), entry);
            }
        }
        Ok(ledger)
    }

    /// Notes that a mail was sent. Returns how often it has been.
    pub(super) fn sent(&self, message_id: &str) -> u64 {
        let now = SystemTime::now();
        let mut entries = self.entries();
        let new = Entry { times: 0, last: now, explained: 0 };
        let entry = entries.entry(message_id.to_owned()).or_insert(new);
        (entry.times, entry.last) = (entry.times + 1, now);
        entry.times
    }

    /// How often a mail was sent.
    pub(super) fn times(&self, message_id: &str) -> u64 {
        self.entries().get(message_id).map_or(0, |entry| entry.times)
    }

    /// Notes that a fault came between sending this mail and its record, so one repetition more of
    /// it is within the window.
    pub(super) fn explain(&self, message_id: &str) {
        if let Some(entry) = self.entries().get_mut(message_id) {
            entry.explained += 1;
        }
    }

    /// What was sent since then.
    pub(super) fn since(&self, since: SystemTime) -> MailCounts {
        let mut counts = MailCounts::default();
        for entry in self.entries().values().filter(|entry| entry.last >= since) {
            let repeated = entry.times.saturating_sub(1);
            counts.sent += entry.times;
            counts.distinct += 1;
            counts.repeated += repeated;
            counts.in_window += repeated.min(entry.explained);
        }
        counts
    }

    /// Forgets entries that are too old, and deletes the files of mails that are.
    ///
    /// # Errors
    /// The directory can't be read.
    pub(super) fn sweep(&self, directory: &Path, now: SystemTime) -> io::Result<()> {
        let is_older = |at: SystemTime, kept| now.duration_since(at).is_ok_and(|age| age > kept);
        self.entries().retain(|_, entry| !is_older(entry.last, ENTRY_KEPT));
        for (path, sent_at) in files(directory)? {
            if is_older(sent_at, FILE_KEPT) {
                // What can't be deleted now is found again the next time.
                let _ = std::fs::remove_file(path);
            }
        }
        Ok(())
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The mails in a directory, each with the time when it was last written.
fn files(directory: &Path) -> io::Result<Vec<(std::path::PathBuf, SystemTime)>> {
    let mut found = Vec::new();
    for entry in directory.read_dir()? {
        let path = entry?.path();
        // A file may be replaced while the directory is read.
        let Ok(written) = path.metadata().and_then(|file| file.modified()) else { continue };
        if path.extension() == Some(OsStr::new("eml")) {
            found.push((path, written));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repetition_counts_and_only_what_a_fault_explains_is_in_the_window() {
        let (ledger, start) = (Ledger::default(), SystemTime::now());
        assert_eq!(ledger.sent("a"), 1);
        ledger.explain("a");
        assert_eq!((ledger.sent("a"), ledger.sent("b")), (2, 1));
        let counts = MailCounts { sent: 3, distinct: 2, repeated: 1, in_window: 1 };
        assert_eq!(ledger.since(start), counts);
        // A second repetition of the same mail has no excuse.
        ledger.sent("a");
        let counts = MailCounts { sent: 4, distinct: 2, repeated: 2, in_window: 1 };
        assert_eq!(ledger.since(start), counts);
        let later = SystemTime::now() + Duration::from_secs(1);
        assert_eq!(ledger.since(later), MailCounts::default());
    }

    #[test]
    fn mails_of_a_process_before_are_known_and_old_ones_go() {
        let directory = std::env::temp_dir().join(format!("l{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir_all(&directory).unwrap();
        for name in ["a.eml", ".b.tmp", "notes.txt"] {
            std::fs::write(directory.join(name), "").unwrap();
        }
        let ledger = Ledger::read(&directory).unwrap();
        assert_eq!((ledger.times("a"), ledger.sent("a")), (1, 2));
        let now = SystemTime::now();
        ledger.sweep(&directory, now + FILE_KEPT / 2).unwrap();
        assert!(directory.join("a.eml").exists());
        ledger.sweep(&directory, now + FILE_KEPT * 2).unwrap();
        assert!(!directory.join("a.eml").exists() && directory.join("notes.txt").exists());
        assert_eq!(ledger.times("a"), 2, "its file is gone, and it is remembered");
        ledger.sweep(&directory, now + ENTRY_KEPT * 2).unwrap();
        assert_eq!(ledger.times("a"), 0);
        std::fs::remove_dir_all(directory).unwrap();
    }
}
