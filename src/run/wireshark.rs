//! Installs dwdump's parts into Wireshark, or removes them, and prints what was done.

use std::path::Path;

use super::answer::print;
use super::diagnostics::hint;
use super::failure::{Exit, Failure};
use crate::cli::{Installation, InstallationTask};
use crate::wireshark::folders::{Folders, FoldersError, Owner};
use crate::wireshark::install::{self, Done, InterfaceFile};

/// The message if users have no folder for capture interfaces of their own.
const NO_PERSONAL_FOLDER: &str = "no interface: this Wireshark has no personal folder for them; \
    `sudo dwdump --install-wireshark --system --group wireshark` installs one for all users";

/// Carries out the command.
pub fn run(installation: &Installation) -> Result<Exit, Failure> {
    let owner = if installation.system {
        Owner::System
    } else {
        Owner::User
    };
    let folders = match (Folders::ask(owner), &installation.extcap_dir) {
        (Ok(folders), _) => Some(folders),
        (Err(FoldersError::NoTshark), Some(_)) => None,
        (Err(error @ FoldersError::NoTshark), None) => {
            return Err(Failure::new(
                error,
                Some(
                    "install the package tshark, or name the folder for the interface with --extcap-dir DIR",
                ),
            ));
        }
        (Err(error), _) => return Err(anyhow::Error::new(error).into()),
    };
    let folder = folders.as_ref().and_then(|folders| folders.extcap.clone());
    let folder = installation.extcap_dir.clone().or(folder);
    let done = match &installation.task {
        InstallationTask::Install(group) => {
            let done = install(folders.as_ref(), folder.as_deref(), group.as_deref())?;
            if !installation.system && folders.is_some() && nix::unistd::geteuid().is_root() {
                hint("for root, Wireshark after 4.0 loads only what --system installs");
            }
            done
        }
        InstallationTask::Uninstall => {
            let done = install::uninstall(folders.as_ref(), folder.as_deref())?;
            if done.is_empty() {
                vec!["nothing was installed".into()]
            } else {
                done
            }
        }
    };
    print(&(done.join("\n") + "\n"))
}

fn install(
    folders: Option<&Folders>,
    folder: Option<&Path>,
    group: Option<&str>,
) -> Result<Done, Failure> {
    let interface = match group {
        None => InterfaceFile::Link,
        Some(name) => match install::group(name)? {
            Some(group) => InterfaceFile::Copy(group),
            None => {
                return Err(Failure::new(
                    anyhow::anyhow!("there is no group '{name}'"),
                    Some(
                        "`sudo dpkg-reconfigure wireshark-common` creates the group wireshark; dwdump creates none",
                    ),
                ));
            }
        },
    };
    let mut done = match folders {
        Some(folders) => install::install_files(folders)?,
        None => vec!["neither plug-in nor profile: tshark is not installed".into()],
    };
    match folder {
        Some(folder) => done.extend(install::install_interface(folder, &interface, folders)?),
        None => done.push(NO_PERSONAL_FOLDER.into()),
    }
    Ok(done)
}
