//! Records the owner of the monitoring. The drop monitor is one global switch without an owner, so
//! the dwdump processes of a host share a file below `/run`: it names the process that configured
//! the drop monitor last, and the settings to restore. A process learns from it that another dwdump
//! has taken over, and restores from it the settings that a killed dwdump left.
//!
//! Programs that do not know this file are detected by the kernel's settings: see
//! [`monitoring`](super::monitoring).

pub mod process;

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::control::Settings;
use process::Process;

/// The folder of the file. `/run` is emptied at boot, which also ends the monitoring.
const FOLDER: &str = "/run";
const NAME: &str = "dwdump.state";
/// An upper limit for the length of a record.
const MAX_LEN: u64 = 4096;
/// The longest wait for the lock. Another dwdump holds it while it starts or ends monitoring.
const PATIENCE: Duration = Duration::from_secs(2);
const RETRY: Duration = Duration::from_millis(10);

/// The file that holds the record of ownership.
#[derive(Clone, Debug)]
pub struct OwnershipFile {
    /// `None` where no record is kept: without root privileges and not as a service, or without `/run`.
    path: Option<PathBuf>,
    /// The file, opened before this process gives up the user who may open it; shared by the clones.
    held: Option<Arc<File>>,
    boot: String,
    family: u16,
    process: Process,
}

/// The locked file. The lock is released on drop; until then, no other dwdump starts or ends
/// monitoring.
#[derive(Debug)]
pub struct Locked<'a> {
    file: Arc<File>,
    of: &'a OwnershipFile,
}

/// The file's content: one line of JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// The boot's ID, from `/proc/sys/kernel/random/boot_id`.
    boot: String,
    /// The number of the family NET_DM. A module that is loaded again has another number, and
    /// default settings.
    family: u16,
    /// The number of the claim, raised whenever the owner changes.
    generation: u64,
    claim: Option<Claim>,
}

/// The owner of the drop monitor, with the settings that it changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The owner.
    pub owner: Process,
    /// The settings to restore.
    pub original: Settings,
    /// The settings made by the owner, or by those that it took over from. If the drop monitor has
    /// any others, another program has configured it since.
    pub configured: Vec<Settings>,
}

impl Claim {
    /// Returns whether the owner of the claim made the `current` settings.
    pub fn made(&self, current: Settings) -> bool {
        self.configured.contains(&current)
    }
}

impl OwnershipFile {
    /// Returns this host's file if this process is root; other users cannot write below `/run`, and a service of
    /// theirs has a file of its own. It is opened once, because this process may be another user later. `family` is
    /// the number of NET_DM.
    pub fn of_this_host(family: u16) -> Self {
        let of_service = std::env::var_os("RUNTIME_DIRECTORY");
        match folder(nix::unistd::geteuid().is_root(), of_service) {
            Some(folder) => Self::at(&folder.join(NAME), family).held_open(),
            None => Self::none(),
        }
    }

    /// Keeps the file open, if it is trustworthy.
    fn held_open(self) -> Self {
        let held = self.path.as_deref().and_then(|path| open(path).ok());
        Self {
            held: held.map(Arc::new),
            ..self
        }
    }

    fn at(path: &Path, family: u16) -> Self {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
        match (boot, Process::current()) {
            (Ok(boot), Some(process)) => Self {
                path: Some(path.to_owned()),
                held: None,
                boot: boot.trim().to_owned(),
                family,
                process,
            },
            _ => Self::none(),
        }
    }

    /// Returns a file that keeps no record: only the kernel's settings show who monitors.
    pub fn none() -> Self {
        Self {
            path: None,
            held: None,
            boot: String::new(),
            family: 0,
            process: Process { pid: 0, started: 0 },
        }
    }

    /// Locks the file. Returns `None` where there is no file, where it is not trustworthy, and
    /// where another dwdump has held the lock for too long.
    pub fn lock(&self) -> Option<Locked<'_>> {
        self.lock_within(PATIENCE).ok().flatten()
    }

    /// Locks the file unless another dwdump holds the lock. Returns `None` where there is no file
    /// or it is not trustworthy.
    pub fn try_lock(&self) -> Result<Option<Locked<'_>>, Contended> {
        self.lock_within(Duration::ZERO)
    }

    fn lock_within(&self, patience: Duration) -> Result<Option<Locked<'_>>, Contended> {
        let opened = match &self.held {
            Some(file) => Some(Arc::clone(file)),
            None => self
                .path
                .as_deref()
                .and_then(|path| open(path).ok())
                .map(Arc::new),
        };
        let Some(file) = opened else {
            return Ok(None);
        };
        let deadline = Instant::now() + patience;
        while file.try_lock().is_err() {
            if Instant::now() >= deadline {
                return Err(Contended);
            }
            std::thread::sleep(RETRY);
        }
        Ok(Some(Locked { file, of: self }))
    }
}

/// Another dwdump holds the lock: it is starting or ending monitoring.
#[derive(Clone, Copy, Debug)]
pub struct Contended;

/// Returns the folder of the file. `of_service` is the folder that systemd has made for a service (RuntimeDirectory= of
/// systemd.exec(5)).
fn folder(is_root: bool, of_service: Option<OsString>) -> Option<PathBuf> {
    if is_root {
        return Some(FOLDER.into());
    }
    of_service
        .map(PathBuf::from)
        .filter(|folder| folder.is_absolute())
}

/// Opens or creates the file. Refuses links, and files that other users own or can access.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.mode(0o600);
    // Nonblocking, in case it is a FIFO.
    options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY);
    let file = options.open(path)?;
    let metadata = file.metadata()?;
    let is_private = metadata.mode() & 0o777 == 0o600;
    let is_own = metadata.uid() == nix::unistd::geteuid().as_raw();
    if metadata.is_file() && is_private && is_own {
        Ok(file)
    } else {
        Err(io::ErrorKind::PermissionDenied.into())
    }
}

/// Releases the lock, which closing the file would not while it is held open.
impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let _ = self.file.unlock();
    }
}

impl Locked<'_> {
    /// Returns the record if it was written since boot. A damaged record counts as none.
    fn record(&mut self) -> Option<Record> {
        let mut text = String::new();
        (&*self.file).rewind().ok()?;
        (&*self.file).take(MAX_LEN).read_to_string(&mut text).ok()?;
        // Whatever follows the first line is left from a longer record.
        let (line, _) = text.split_once('\n')?;
        let record: Record = serde_json::from_str(line).ok()?;
        (record.boot == self.of.boot).then_some(record)
    }

    /// Returns the claim on the drop monitor as it is loaded now, whether or not its owner is
    /// running.
    pub fn claim(&mut self) -> Option<Claim> {
        let record = self.record()?;
        record.claim.filter(|_| record.family == self.of.family)
    }

    /// Returns whether the record shows another owner after `generation`. Without a record, the
    /// answer is no.
    pub fn has_other_owner(&mut self, generation: u64) -> bool {
        self.record()
            .is_some_and(|record| record.generation != generation)
    }

    /// Claims the drop monitor for this process. Returns the generation, or `None` if the claim
    /// could not be written.
    pub fn take(&mut self, original: Settings, configured: Vec<Settings>) -> Option<u64> {
        let generation = self.next_generation();
        let claim = Claim {
            owner: self.of.process,
            original,
            configured,
        };
        self.write(generation, Some(claim)).ok()?;
        Some(generation)
    }

    /// Adds the settings that the owner is about to make.
    pub fn add(&mut self, settings: Settings) {
        if let Some(mut record) = self.record()
            && let Some(claim) = &mut record.claim
            && !claim.made(settings)
        {
            claim.configured.push(settings);
            // If this fails, the kernel's settings alone decide.
            let _ = self.write(record.generation, record.claim);
        }
    }

    /// Ends the claim, so that the drop monitor has no owner.
    pub fn give_up(&mut self) {
        let generation = self.next_generation();
        // A claim that remains is void as soon as the settings are no longer its owner's.
        let _ = self.write(generation, None);
    }

    fn next_generation(&mut self) -> u64 {
        let last = self.record().map_or(0, |record| record.generation);
        last.wrapping_add(1)
    }

    fn write(&mut self, generation: u64, claim: Option<Claim>) -> io::Result<()> {
        let record = Record {
            boot: self.of.boot.clone(),
            family: self.of.family,
            generation,
            claim,
        };
        let line = serde_json::to_string(&record)? + "\n";
        (&*self.file).rewind()?;
        // One call, so that a process killed in between leaves the old record or the new one.
        (&*self.file).write_all(line.as_bytes())?;
        self.file
            .set_len(u64::try_from(line.len()).unwrap_or(MAX_LEN))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use tempfile::TempDir;

    use super::*;
    use crate::net_dm::control::AlertMode;

    pub const FAMILY: u16 = 31;

    /// Returns a folder for the record of one test.
    pub fn folder() -> TempDir {
        tempfile::tempdir().unwrap()
    }

    pub fn file(folder: &TempDir) -> OwnershipFile {
        OwnershipFile::at(&folder.path().join("state"), FAMILY)
    }

    /// Makes the process with this generation look killed: its number now belongs to another
    /// process.
    pub fn kill(folder: &TempDir, generation: u64) {
        let file = file(folder);
        let mut locked = file.lock().unwrap();
        let record = locked.record().unwrap();
        if let Some(mut claim) = record.claim.filter(|_| record.generation == generation) {
            claim.owner.started += 1;
            locked.write(generation, Some(claim)).unwrap();
        }
    }

    pub const fn settings(mode: AlertMode, queue_len: u32) -> Settings {
        Settings {
            mode,
            trunc_len: 0,
            queue_len,
        }
    }

    const BEFORE: Settings = settings(AlertMode::Summary, 1000);
    const OURS: Settings = settings(AlertMode::Packet, 5000);

    #[test]
    fn a_claim_is_read_back_and_another_ends_it() {
        let folder = folder();
        let (first, second) = (file(&folder), file(&folder));
        assert_eq!(first.lock().unwrap().claim(), None);
        let generation = first.lock().unwrap().take(BEFORE, vec![OURS]).unwrap();
        let claim = second.lock().unwrap().claim().unwrap();
        assert_eq!((claim.original, claim.made(OURS)), (BEFORE, true));
        assert!(!claim.made(BEFORE));
        assert!(claim.owner.is_alive());
        assert!(!first.lock().unwrap().has_other_owner(generation));

        let later = second.lock().unwrap().take(BEFORE, vec![OURS]).unwrap();
        assert!(first.lock().unwrap().has_other_owner(generation));
        assert!(!second.lock().unwrap().has_other_owner(later));
        second.lock().unwrap().give_up();
        assert_eq!(first.lock().unwrap().claim(), None);
        assert!(first.lock().unwrap().has_other_owner(generation));
    }

    #[test]
    fn root_and_services_keep_a_record() {
        let service = || Some("/run/dwdump".into());
        assert_eq!(super::folder(true, service()), Some("/run".into()));
        assert_eq!(super::folder(false, service()), Some("/run/dwdump".into()));
        assert_eq!(super::folder(false, Some("dwdump".into())), None);
        assert_eq!(super::folder(false, None), None);
    }

    #[test]
    fn a_file_that_is_held_is_locked_and_written_when_it_cannot_be_opened_any_more() {
        let folder = folder();
        let held = file(&folder).held_open();
        // Two copies, as those of a run and of its thread that handles signals.
        let copy = held.clone();
        let generation = held.lock().unwrap().take(BEFORE, vec![OURS]).unwrap();
        let locked = held.lock().unwrap();
        assert!(file(&folder).try_lock().is_err());
        drop(locked);
        assert!(file(&folder).try_lock().is_ok());
        let path = folder.path().join("state");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        assert!(file(&folder).lock().is_none(), "it could be opened");
        assert!(!copy.lock().unwrap().has_other_owner(generation));
        copy.lock().unwrap().give_up();
        assert!(held.lock().unwrap().has_other_owner(generation));
    }

    #[test]
    fn a_shorter_record_replaces_a_longer_one() {
        let folder = folder();
        let file = file(&folder);
        let mut locked = file.lock().unwrap();
        locked.take(BEFORE, vec![OURS, BEFORE]).unwrap();
        locked.add(settings(AlertMode::Other(9), u32::MAX));
        let claim = locked.claim().unwrap();
        assert_eq!(claim.configured.len(), 3);
        locked.give_up();
        assert_eq!(locked.claim(), None);
        let text = std::fs::read_to_string(folder.path().join("state")).unwrap();
        assert_eq!(text.lines().count(), 1);
        // The state after a process was killed before it cut off the rest.
        std::fs::write(folder.path().join("state"), text + "and more").unwrap();
        assert!(locked.record().is_some());
    }

    #[test]
    fn a_damaged_record_is_no_claim() {
        let folder = folder();
        let ours = file(&folder);
        ours.lock().unwrap().take(BEFORE, vec![OURS]).unwrap();
        let path = folder.path().join("state");
        let good = std::fs::read_to_string(&path).unwrap();
        let damaged = [
            String::new(),
            "\n".into(),
            "{}\n".into(),
            "\0\0\0\n".into(),
            good[..good.len() / 2].to_owned(),
            good.trim_end().to_owned(),
            good.replace(&ours.boot, "another boot"),
            format!("{}{good}", " ".repeat(5000)),
        ];
        for text in damaged {
            std::fs::write(&path, &text).unwrap();
            let mut locked = ours.lock().unwrap();
            assert_eq!(locked.claim(), None, "{text:?}");
            assert!(!locked.has_other_owner(1), "{text:?}");
            assert!(locked.take(BEFORE, vec![OURS]).is_some(), "{text:?}");
            assert!(locked.claim().is_some());
        }
        // A module that was loaded again has default settings.
        let reloaded = OwnershipFile::at(&path, FAMILY + 1);
        assert_eq!(reloaded.lock().unwrap().claim(), None);
    }

    #[test]
    fn a_file_that_others_can_write_is_not_trusted() {
        let folder = folder();
        let path = folder.path().join("state");
        let ours = file(&folder);
        std::fs::write(folder.path().join("target"), "").unwrap();
        symlink(folder.path().join("target"), &path).unwrap();
        assert!(ours.lock().is_none(), "a link");
        std::fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(ours.lock().is_none(), "a FIFO");
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(ours.lock().is_none(), "a folder");
        std::fs::remove_dir(&path).unwrap();
        ours.lock().unwrap().give_up();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o622)).unwrap();
        assert!(ours.lock().is_none(), "writable for all");
        assert!(OwnershipFile::none().lock().is_none());
        let nowhere = OwnershipFile::at(&folder.path().join("none/state"), FAMILY);
        assert!(nowhere.lock().is_none());
    }

    #[test]
    fn the_wait_for_the_lock_ends() {
        let folder = folder();
        let (first, second) = (file(&folder), file(&folder));
        let locked = first.lock().unwrap();
        assert!(second.try_lock().is_err());
        let before = Instant::now();
        assert!(second.lock().is_none());
        assert!(before.elapsed() >= PATIENCE);
        drop(locked);
        assert!(second.try_lock().unwrap().is_some());
    }
}
