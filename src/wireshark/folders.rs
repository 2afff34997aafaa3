//! Asks tshark where Wireshark keeps its files.

use std::io;
use std::path::PathBuf;
use std::process::Command;

/// The folders of a user, or of all users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Folders {
    /// Profiles are in its subfolder `profiles`.
    pub configuration: PathBuf,
    /// For plug-ins in Lua.
    pub lua: PathBuf,
    /// For capture interfaces; users have none of their own before Wireshark 4.2.
    pub extcap: Option<PathBuf>,
}

/// The owner of the folders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The user that runs the program.
    User,
    /// Everybody on this host.
    System,
}

/// The reason why the folders are not known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FoldersError {
    /// tshark is not installed.
    #[error("tshark, which knows where Wireshark keeps its files, is not installed")]
    NoTshark,
    /// tshark could not be run, or failed.
    #[error("`tshark -G folders` failed")]
    Failed(#[source] io::Error),
    /// tshark did not name a folder.
    #[error("`tshark -G folders` does not name the folder '{0}'")]
    Unnamed(&'static str),
}

impl Folders {
    /// Asks the tshark of the search path.
    pub fn ask(owner: Owner) -> Result<Self, FoldersError> {
        Self::read(&answer()?, owner)
    }

    /// Asks for those of the user and those of everybody.
    pub fn ask_for_both() -> Result<[Self; 2], FoldersError> {
        let answer = answer()?;
        let folders = |owner| Self::read(&answer, owner);
        Ok([folders(Owner::User)?, folders(Owner::System)?])
    }

    /// Reads the answer: a label, a colon, tabs, a folder.
    fn read(answer: &str, owner: Owner) -> Result<Self, FoldersError> {
        let folder = |label: &str| {
            let mut lines = answer.lines().filter_map(|line| line.split_once(':'));
            let (_, folder) = lines.find(|(name, _)| *name == label)?;
            let folder = folder.trim();
            (!folder.is_empty()).then(|| PathBuf::from(folder))
        };
        let needed = |label| folder(label).ok_or(FoldersError::Unnamed(label));
        Ok(match owner {
            Owner::User => Self {
                configuration: needed("Personal configuration")?,
                lua: needed("Personal Lua Plugins")?,
                extcap: folder("Personal Extcap path"),
            },
            Owner::System => Self {
                configuration: needed("Global configuration")?,
                lua: needed("Global Lua Plugins")?,
                // Versions with a single folder have it for everybody.
                extcap: folder("Global Extcap path").or_else(|| folder("Extcap path")),
            },
        })
    }
}

/// Returns what tshark says of its folders.
fn answer() -> Result<String, FoldersError> {
    let output = Command::new("tshark").args(["-G", "folders"]).output();
    let output = output.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => FoldersError::NoTshark,
        _ => FoldersError::Failed(error),
    })?;
    if !output.status.success() {
        return Err(FoldersError::Failed(io::Error::other(
            output.status.to_string(),
        )));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "Personal configuration:\t/home/u/.config/wireshark\n\
        Global configuration:\t/usr/share/wireshark\n\
        Personal Lua Plugins:\t/home/u/.local/lib/wireshark/plugins\n\
        Global Lua Plugins:  \t/usr/lib/wireshark/plugins\n\
        Extcap path:         \t/usr/lib/wireshark/extcap\n";

    #[test]
    fn users_of_old_versions_have_no_folder_for_interfaces() {
        let folders = Folders::read(OLD, Owner::User).unwrap();
        assert_eq!(folders.extcap, None);
        assert_eq!(
            folders.lua,
            PathBuf::from("/home/u/.local/lib/wireshark/plugins")
        );
        let folders = Folders::read(OLD, Owner::System).unwrap();
        assert_eq!(
            folders.extcap,
            Some(PathBuf::from("/usr/lib/wireshark/extcap"))
        );
    }

    #[test]
    fn newer_versions_have_two() {
        let new = OLD.replace(
            "Extcap path:         \t/usr/lib",
            "Personal Extcap path:\t/home/u/.local/lib/wireshark/extcap\nGlobal Extcap path:  \t/usr/libexec",
        );
        let folder = |owner| Folders::read(&new, owner).unwrap().extcap.unwrap();
        assert_eq!(
            folder(Owner::User),
            PathBuf::from("/home/u/.local/lib/wireshark/extcap")
        );
        assert_eq!(
            folder(Owner::System),
            PathBuf::from("/usr/libexec/wireshark/extcap")
        );
    }

    #[test]
    fn a_missing_folder_is_named() {
        let error = Folders::read("", Owner::User).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`tshark -G folders` does not name the folder 'Personal configuration'"
        );
    }
}
