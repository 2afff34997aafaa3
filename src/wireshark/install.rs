//! Installs the plug-in, the profile and the capture interface, and removes them again.
//!
//! The profile's folder holds a list of the folders that were created on the way, so that none is left
//! after a removal. The list also distinguishes dwdump's profile from one that a user made.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use capctl::caps::{Cap, CapSet, FileCaps};
use nix::unistd::{Gid, Group};

use super::folders::Folders;
use super::{plugin, profile};

/// The plug-in's file.
const PLUGIN: &str = "dwdump.lua";
/// The interface's file.
const INTERFACE: &str = "dwdump";
/// The list of created folders, in the profile's folder.
const CREATED: &str = "created-by-dwdump";

/// The capabilities that capturing needs: CAP_NET_ADMIN for the drop monitor's commands, CAP_SYS_ADMIN
/// (since Linux 6.7) for joining its groups, CAP_SYSLOG for the kernel's addresses.
const CAPABILITIES: [Cap; 3] = [Cap::NET_ADMIN, Cap::SYS_ADMIN, Cap::SYSLOG];

/// The file that makes dwdump an interface of Wireshark's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum InterfaceFile {
    /// A link to the program that runs.
    Link,
    /// A copy that the members of a group may run, with the rights to capture.
    Copy(Group),
}

/// The report of an installation: one line for each thing that was done.
pub(crate) type Done = Vec<String>;

/// Finds the group whose members may capture; `None` where there is none of this name.
pub(crate) fn group(name: &str) -> Result<Option<Group>> {
    Group::from_name(name).with_context(|| format!("cannot look up the group '{name}'"))
}

/// Returns whether the plug-in and the capture interface are installed in these folders.
pub(crate) fn is_installed(folders: &Folders) -> (bool, bool) {
    let interface = folders.extcap.as_ref();
    let interface = interface.is_some_and(|folder| folder.join(INTERFACE).exists());
    (folders.lua.join(PLUGIN).exists(), interface)
}

/// Installs the plug-in and the profile.
pub(crate) fn install_files(folders: &Folders) -> Result<Done> {
    let mut done = Done::new();
    let profile = profile_folder(folders);
    let mut created = match fs::read(profile.join(CREATED)) {
        Ok(list) => lines(&list),
        Err(_) if profile.exists() => bail!(
            "{} is a profile that dwdump did not install",
            profile.display()
        ),
        Err(_) => Vec::new(),
    };
    created.extend(create_folder(&profile)?);
    created.extend(create_folder(&folders.lua)?);
    let list = created.join(OsStr::new("\n").as_bytes());
    write(&profile.join(CREATED), &list)?;
    for (name, content) in profile::files() {
        write(&profile.join(name), content.as_bytes())?;
    }
    done.push(format!("profile {}: {}", profile::NAME, profile.display()));
    let plugin = folders.lua.join(PLUGIN);
    write(&plugin, plugin::plugin().as_bytes())?;
    done.push(format!("plug-in: {}", plugin.display()));
    Ok(done)
}

/// Installs the capture interface into `folder`; `list` keeps the folders that are created.
pub(crate) fn install_interface(
    folder: &Path,
    interface: &InterfaceFile,
    folders: Option<&Folders>,
) -> Result<Done> {
    let created = create_folder(folder)?;
    if let (Some(folders), false) = (folders, created.is_empty()) {
        let list = profile_folder(folders).join(CREATED);
        let mut text = fs::read(&list).unwrap_or_default();
        for folder in created {
            text.push(b'\n');
            text.extend(folder);
        }
        write(&list, &text)?;
    }
    let program = std::env::current_exe().context("cannot find the running program")?;
    let path = folder.join(INTERFACE);
    let fresh = folder.join(format!(".{INTERFACE}.{}", std::process::id()));
    let placed = match interface {
        InterfaceFile::Link => symlink(&program, &fresh).with_context(|| cannot("write", &fresh)),
        InterfaceFile::Copy(group) => copy(&program, &fresh, group.gid),
    };
    let placed =
        placed.and_then(|()| fs::rename(&fresh, &path).with_context(|| cannot("write", &path)));
    if placed.is_err() {
        let _ = fs::remove_file(&fresh);
    }
    placed?;
    let what = match interface {
        InterfaceFile::Link => format!("a link to {}", program.display()),
        InterfaceFile::Copy(group) => format!(
            "a copy, 0750 root:{}, with cap_net_admin,cap_sys_admin,cap_syslog",
            group.name
        ),
    };
    Ok(vec![format!("interface: {}, {what}", path.display())])
}

/// Removes what was installed into these folders. The list is empty if nothing was.
pub(crate) fn uninstall(folders: Option<&Folders>, extcap: Option<&Path>) -> Result<Done> {
    let mut done = Done::new();
    if let Some(folder) = extcap {
        remove_file(&folder.join(INTERFACE), &mut done)?;
    }
    let Some(folders) = folders else {
        return Ok(done);
    };
    remove_file(&folders.lua.join(PLUGIN), &mut done)?;
    let profile = profile_folder(folders);
    if let Ok(list) = fs::read(profile.join(CREATED)) {
        fs::remove_dir_all(&profile).with_context(|| cannot("remove", &profile))?;
        done.push(format!("removed {}", profile.display()));
        // The innermost were created last. One that others use by now is not empty, and stays.
        for folder in lines(&list).iter().rev() {
            let _ = fs::remove_dir(Path::new(OsStr::from_bytes(folder)));
        }
    }
    Ok(done)
}

fn profile_folder(folders: &Folders) -> PathBuf {
    folders.configuration.join("profiles").join(profile::NAME)
}

fn cannot(verb: &str, path: &Path) -> String {
    format!("cannot {verb} {}", path.display())
}

fn lines(list: &[u8]) -> Vec<Vec<u8>> {
    let lines = list.split(|&byte| byte == b'\n');
    let lines = lines.filter(|line| !line.is_empty());
    lines.map(<[u8]>::to_vec).collect()
}

/// Creates a folder and those above it; returns the ones that were missing, the outermost first.
fn create_folder(folder: &Path) -> Result<Vec<Vec<u8>>> {
    let missing = folder.ancestors().take_while(|folder| !folder.exists());
    let mut missing: Vec<_> = missing
        .map(|folder| folder.as_os_str().as_bytes().to_vec())
        .collect();
    missing.reverse();
    fs::create_dir_all(folder).with_context(|| cannot("create", folder))?;
    Ok(missing)
}

/// Writes a file whole or not at all.
fn write(path: &Path, content: &[u8]) -> Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    let fresh = PathBuf::from(name);
    let written = create_new(&fresh, 0o644)
        .and_then(|mut file| file.write_all(content))
        .and_then(|()| fs::rename(&fresh, path));
    if written.is_err() {
        let _ = fs::remove_file(&fresh);
    }
    written.with_context(|| cannot("write", path))
}

fn create_new(path: &Path, mode: u32) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(mode).open(path)
}

/// Copies the program. Nobody else may run it before it belongs to the group, and the owner is set
/// before the capabilities, which the kernel removes from a file that changes hands.
fn copy(program: &Path, path: &Path, group: Gid) -> Result<()> {
    let copied = || -> Result<()> {
        let mut source = File::open(program)?;
        let mut file = create_new(path, 0o600)?;
        io::copy(&mut source, &mut file)?;
        std::os::unix::fs::fchown(&file, Some(0), Some(group.as_raw()))?;
        file.set_permissions(Permissions::from_mode(0o750))?;
        drop(file);
        let mut capabilities = FileCaps::empty();
        capabilities.effective = true;
        capabilities.permitted = CapSet::from_iter(CAPABILITIES);
        capabilities.set_for_file(path)?;
        Ok(())
    };
    copied().with_context(|| cannot("write", path))
}

fn remove_file(path: &Path, done: &mut Done) -> Result<()> {
    match fs::remove_file(path) {
        Ok(()) => done.push(format!("removed {}", path.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| cannot("remove", path)),
    }
    Ok(())
}
