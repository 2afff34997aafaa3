//! Records who owns the monitoring. The drop monitor is one global switch without an owner, so the
//! dwdump processes of a host keep a file below `/run`: which process configured it last, and the
//! settings to restore. A process learns from it that another has taken the monitoring over, and
//! restores from it the settings that a killed process left.
//!
//! Programs that do not know the record are noticed by what the kernel says: see
//! [`monitoring`](super::monitoring).

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::control::Settings;

/// Where the record is. It goes with the boot, as the monitoring does.
const PATH: &str = "/run/dwdump.state";
/// More than any record has.
const MAX_LEN: u64 = 4096;
/// How long another dwdump may hold the lock: it does while it starts or ends monitoring.
const PATIENCE: Duration = Duration::from_secs(2);
const RETRY: Duration = Duration::from_millis(10);

/// The file that holds the record.
#[derive(Clone, Debug)]
pub struct OwnershipFile {
    /// `None` where no record is kept: without root, or without `/run`.
    path: Option<PathBuf>,
    boot: String,
    family: u16,
    process: Process,
}

/// The file, locked until this is dropped: whoever starts or ends monitoring meanwhile waits.
#[derive(Debug)]
pub struct Locked<'a> {
    file: File,
    of: &'a OwnershipFile,
}

/// One line of JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// `/proc/sys/kernel/random/boot_id`.
    boot: String,
    /// NET_DM's number; a module that is loaded again has another, and its own settings.
    family: u16,
    /// Raised whenever the owner changes.
    generation: u64,
    claim: Option<Claim>,
}

/// What the owner did to the drop monitor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The owner.
    pub owner: Process,
    /// The settings to go back to.
    pub original: Settings,
    /// Settings that the owner, or those it took over from, made. With any others, somebody
    /// else has configured the drop monitor since.
    pub configured: Vec<Settings>,
}

impl Claim {
    /// Whether `current` settings are the work of the claim's owner.
    pub fn made(&self, current: Settings) -> bool {
        self.configured.contains(&current)
    }
}

/// A process, told from a later one with the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// When it started, in clock ticks since the boot (`/proc/PID/stat`, field 22).
    pub started: u64,
}

impl Process {
    fn current() -> Option<Self> {
        Self::find(std::process::id())
    }

    fn find(pid: u32) -> Option<Self> {
        let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
        let started = start_time(&stat)?;
        Some(Self { pid, started })
    }

    /// Whether it still runs.
    pub fn is_alive(self) -> bool {
        Self::find(self.pid) == Some(self)
    }
}

/// proc_pid_stat(5): the second field is a name in parentheses, which may hold any of them. A zombie
/// runs no more.
fn start_time(stat: &[u8]) -> Option<u64> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let mut fields = std::str::from_utf8(&stat[end + 1..])
        .ok()?
        .split_whitespace();
    let is_dead = matches!(fields.next()?, "Z" | "X");
    // The state is field 3.
    let started = fields.nth(22 - 3 - 1)?.parse().ok()?;
    (!is_dead).then_some(started)
}

impl OwnershipFile {
    /// This host's, where this process is root: others cannot write below `/run`, and are not
    /// trusted there. `family` is NET_DM's number.
    pub fn of_this_host(family: u16) -> Self {
        if nix::unistd::geteuid().is_root() {
            Self::at(Path::new(PATH), family)
        } else {
            Self::none()
        }
    }

    fn at(path: &Path, family: u16) -> Self {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
        match (boot, Process::current()) {
            (Ok(boot), Some(process)) => Self {
                path: Some(path.to_owned()),
                boot: boot.trim().to_owned(),
                family,
                process,
            },
            _ => Self::none(),
        }
    }

    /// No record is kept: what the kernel says decides alone.
    pub fn none() -> Self {
        Self {
            path: None,
            boot: String::new(),
            family: 0,
            process: Process { pid: 0, started: 0 },
        }
    }

    /// Locks the file. `None` where there is none, where it is not to be trusted, and where
    /// somebody has held the lock for too long.
    pub fn lock(&self) -> Option<Locked<'_>> {
        self.lock_within(PATIENCE).ok().flatten()
    }

    /// Locks the file, unless somebody else has locked it now. `None` as with [`lock`](Self::lock).
    pub fn try_lock(&self) -> Result<Option<Locked<'_>>, Contended> {
        self.lock_within(Duration::ZERO)
    }

    fn lock_within(&self, patience: Duration) -> Result<Option<Locked<'_>>, Contended> {
        let Some(Ok(file)) = self.path.as_deref().map(open) else {
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

/// Somebody else has the lock: another dwdump starts or ends monitoring.
#[derive(Clone, Copy, Debug)]
pub struct Contended;

/// Opens or creates the file, if it is this user's alone and no link.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.mode(0o600);
    // Nonblocking for the case that it is a FIFO.
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

impl Locked<'_> {
    /// The record of this boot; one that makes no sense is none.
    fn record(&mut self) -> Option<Record> {
        let mut text = String::new();
        self.file.rewind().ok()?;
        (&self.file).take(MAX_LEN).read_to_string(&mut text).ok()?;
        // What a longer record may have left behind the first line means nothing.
        let (line, _) = text.split_once('\n')?;
        let record: Record = serde_json::from_str(line).ok()?;
        (record.boot == self.of.boot).then_some(record)
    }

    /// The claim on the drop monitor as it is loaded now, its owner alive or not.
    pub fn claim(&mut self) -> Option<Claim> {
        let record = self.record()?;
        record.claim.filter(|_| record.family == self.of.family)
    }

    /// Whether the record says that another owner came after `generation`. Where it says nothing,
    /// the answer is no.
    pub fn is_passed_on(&mut self, generation: u64) -> bool {
        self.record()
            .is_some_and(|record| record.generation != generation)
    }

    /// Claims the drop monitor for this process. Returns the generation; `None` where the claim
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

    /// Adds settings that the owner is about to make.
    pub fn add(&mut self, settings: Settings) {
        if let Some(mut record) = self.record()
            && let Some(claim) = &mut record.claim
            && !claim.made(settings)
        {
            claim.configured.push(settings);
            // Without it, the kernel's answers decide.
            let _ = self.write(record.generation, record.claim);
        }
    }

    /// Ends the claim: the drop monitor is nobody's.
    pub fn give_up(&mut self) {
        let generation = self.next_generation();
        // A claim that stays is void once the settings are no longer its owner's.
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
        self.file.rewind()?;
        // In one call, so that a process that is killed leaves the old record or the new one.
        self.file.write_all(line.as_bytes())?;
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

    /// A record of its own for a test, and another dwdump's view of it.
    pub fn folder() -> TempDir {
        tempfile::tempdir().unwrap()
    }

    pub fn file(folder: &TempDir) -> OwnershipFile {
        OwnershipFile::at(&folder.path().join("state"), FAMILY)
    }

    /// The process whose claim has this generation was killed: the number belongs to another now.
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
        assert!(!first.lock().unwrap().is_passed_on(generation));

        let later = second.lock().unwrap().take(BEFORE, vec![OURS]).unwrap();
        assert!(first.lock().unwrap().is_passed_on(generation));
        assert!(!second.lock().unwrap().is_passed_on(later));
        second.lock().unwrap().give_up();
        assert_eq!(first.lock().unwrap().claim(), None);
        assert!(first.lock().unwrap().is_passed_on(generation));
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
        // As if the process had been killed before the rest was cut off.
        std::fs::write(folder.path().join("state"), text + "and more").unwrap();
        assert!(locked.record().is_some());
    }

    #[test]
    fn what_makes_no_sense_is_no_claim() {
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
            assert!(!locked.is_passed_on(1), "{text:?}");
            assert!(locked.take(BEFORE, vec![OURS]).is_some(), "{text:?}");
            assert!(locked.claim().is_some());
        }
        // Loaded again, the module has its own settings.
        let reloaded = OwnershipFile::at(&path, FAMILY + 1);
        assert_eq!(reloaded.lock().unwrap().claim(), None);
    }

    #[test]
    fn a_file_of_somebody_else_is_not_trusted() {
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
    fn the_lock_is_waited_for_but_not_for_ever() {
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

    #[test]
    fn a_process_is_told_from_one_with_the_same_number() {
        let own = Process::current().unwrap();
        assert!(own.is_alive());
        let later = Process {
            started: own.started + 1,
            ..own
        };
        assert!(!later.is_alive());
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let zombie = Process::find(child.id());
        child.wait().unwrap();
        assert!(zombie.is_none_or(|child| !child.is_alive()));

        let fields = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 777 20";
        let stat = |name: &str| format!("12 ({name}) {fields}").into_bytes();
        assert_eq!(start_time(&stat("dwdump")), Some(777));
        assert_eq!(start_time(&stat(") Z (1 2")), Some(777));
        assert_eq!(start_time(&stat("dwdump").to_ascii_lowercase()[..20]), None);
        assert_eq!(start_time(b""), None);
        assert_eq!(start_time(&[0xff; 40]), None);
        let dead = stat("dwdump");
        let dead = String::from_utf8(dead).unwrap().replace(") S", ") Z");
        assert_eq!(start_time(dead.as_bytes()), None);
    }
}
