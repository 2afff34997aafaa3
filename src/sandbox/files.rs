//! Confines the files of this thread with Landlock (landlock(7)).

use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, make_bitflags,
};

/// The newest version that the rules know; an older kernel enforces what it can.
const NEWEST: ABI = ABI::V6;

/// The part of the rules that this kernel enforces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileConfinement {
    /// All.
    Full,
    /// The part that an older version knows.
    Partial,
    /// Nothing: the kernel has no Landlock, or it is off.
    None,
}

/// The paths that can still be opened. One that does not exist is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenPaths<'p> {
    /// Files, and folders with all below them, that can be read.
    pub readable: Vec<&'p Path>,
    /// Folders in which files can be created, renamed and removed, and written.
    pub writable: Vec<&'p Path>,
    /// Folders in which, and below which, files can be created, and written.
    pub grown: Vec<&'p Path>,
    /// Folders from which files can be removed, and nothing else.
    pub cleared: Vec<&'p Path>,
}

/// Lets this thread, and those that it starts, open only these paths, connect to and bind no port, and signal
/// no process outside, unless it `signals` one that was started before. What is open stays open.
pub fn confine(paths: &OpenPaths<'_>, signals: bool) -> Result<FileConfinement, RulesetError> {
    let mut scopes = Scope::from_all(NEWEST);
    if signals {
        scopes.remove(Scope::Signal);
    }
    let reading = make_bitflags!(AccessFs::{ReadFile | ReadDir});
    let writing = make_bitflags!(AccessFs::{ReadFile | ReadDir | WriteFile | Truncate | MakeReg | RemoveFile | Refer});
    let creating = make_bitflags!(AccessFs::{WriteFile | MakeReg});
    let removing = make_bitflags!(AccessFs::{RemoveFile});
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(scopes)?
        .create()?;
    let all = paths.readable.iter().map(|path| (path, reading));
    let all = all.chain(paths.writable.iter().map(|path| (path, writing)));
    let all = all.chain(paths.grown.iter().map(|path| (path, creating)));
    let all = all.chain(paths.cleared.iter().map(|path| (path, removing)));
    for (path, access) in all {
        let Ok(opened) = PathFd::new(path) else {
            continue;
        };
        let access = if path.is_dir() {
            access
        } else {
            access & AccessFs::from_file(NEWEST)
        };
        rules = rules.add_rule(PathBeneath::new(opened, access))?;
    }
    let status = rules.restrict_self()?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => FileConfinement::Full,
        RulesetStatus::PartiallyEnforced => FileConfinement::Partial,
        RulesetStatus::NotEnforced => FileConfinement::None,
    })
}

/// Returns the version of the kernel's Landlock, of those that the rules know.
pub fn version() -> Option<u32> {
    let versions = [
        (6, ABI::V6),
        (5, ABI::V5),
        (4, ABI::V4),
        (3, ABI::V3),
        (2, ABI::V2),
        (1, ABI::V1),
    ];
    let is_there = |abi| {
        let wanted = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
        let wanted = wanted.handle_access(AccessFs::from_all(abi)).ok()?;
        let wanted = match abi {
            ABI::V4 | ABI::V5 | ABI::V6 => wanted.handle_access(AccessNet::from_all(abi)).ok()?,
            _ => wanted,
        };
        let wanted = match abi {
            ABI::V6 => wanted.scope(Scope::from_all(abi)).ok()?,
            _ => wanted,
        };
        wanted.create().ok()
    };
    let mut versions = versions.into_iter();
    versions.find_map(|(number, abi)| is_there(abi).map(|_| number))
}
